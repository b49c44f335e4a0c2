package standalone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/producer"
	"github.com/spatial-flow/spatial-flow/standalone/drawing"
)

// runFile runs the source through a pipeline of its own.
func (w *Watch) runFile(ctx context.Context, s *show, log *slog.Logger) error {
	sink, err := w.newFileSink(ctx, s)
	if err != nil {
		return err
	}
	cfg, err := w.lossless(sink, w.File)
	if err != nil {
		return errors.Join(err, sink.Close())
	}
	cfg.Producer.Frames, cfg.Duration = w.Frames, w.Duration
	return cfg.Run(ctx, io.Discard, s.progress, log)
}

// fileSink shows every scene of a source that is run here, its picture read once more.
type fileSink struct {
	show     *show
	ctx      context.Context
	pictures *producer.Pictures // nil: no picture is needed
	read     uint64
}

// newFileSink opens what it needs of the file, and the video.
func (w *Watch) newFileSink(ctx context.Context, s *show) (*fileSink, error) {
	sink := &fileSink{show: s, ctx: context.WithoutCancel(ctx)} // what is under way when ctx ends is shown too
	if w.Out == "" {
		return sink, nil
	}
	var err error
	if sink.pictures, err = producer.OpenPictures(ctx, w.File); err != nil {
		return nil, err
	}
	fps := sink.pictures.FPS()
	if fps < .1 || fps > 1000 {
		fps = 25
	}
	if err := s.open(fps); err != nil {
		return nil, errors.Join(err, sink.pictures.Close())
	}
	return sink, nil
}

func (f *fileSink) Take(scene *flow.Scene) error {
	var picture []byte
	for f.pictures != nil && f.read < scene.Seq {
		f.read++
		var err error
		if picture, err = f.pictures.Next(f.ctx); err != nil && !errors.Is(err, producer.ErrPicture) {
			return fmt.Errorf("read picture %d again: %w", f.read, err)
		}
	}
	return f.show.scene(f.ctx, scene.JSON(), picture, mapOf(scene.Depth, scene.Range), false)
}

func (f *fileSink) Close() error {
	if f.pictures == nil {
		return nil
	}
	return f.pictures.Close()
}

func mapOf(depth *depthmap.Map, stable *depthmap.Range) *drawing.Map {
	if depth == nil {
		return nil
	}
	return &drawing.Map{Map: depth, Range: stable}
}
