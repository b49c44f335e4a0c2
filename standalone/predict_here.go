package standalone

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/fuser/join"
	"github.com/spatial-flow/spatial-flow/producer"
	"github.com/spatial-flow/spatial-flow/workers"
)

// here are the models of this process.
type here struct {
	groups flow.Groups
	models []*workers.Apart
}

func (p *Predict) openHere(log *slog.Logger) (asked, error) {
	groups, settings, err := p.groups()
	if err != nil {
		return nil, err
	}
	h := here{groups: groups}
	for _, cfg := range settings {
		model, err := workers.OpenApart(cfg, log)
		if err != nil {
			return nil, errors.Join(err, h.Close())
		}
		h.models = append(h.models, model)
	}
	return h, nil
}

// Close frees the models.
func (h here) Close() error {
	var errs []error
	for _, model := range h.models {
		errs = append(errs, model.Close())
	}
	return errors.Join(errs...)
}

// look makes the scene of one picture file, as the pipeline would.
func (h here) look(ctx context.Context, path string) (looked, error) {
	began := time.Now()
	frame := &flow.Frame{
		Version: flow.Wire, Source: "picture", Session: "predict", Seq: 1, Mode: flow.ModeLossless, Captured: began.UnixNano(),
		File: flow.FileName(filepath.Base(path)),
	}
	for _, group := range h.groups {
		if !group.Off {
			frame.Plan = append(frame.Plan, group.Name)
		}
	}
	var err error
	if frame.Picture, frame.Width, frame.Height, err = producer.ReadPicture(ctx, path); err != nil {
		frame.Error = flow.CutText(err.Error())
	}
	frame.Sent = time.Now().UnixNano()
	frame.Ledger = []flow.Hop{{Stage: "producer", Work: time.Since(began)}}
	results := make([]*flow.Result, len(h.models))
	var tasks errgroup.Group
	for i, model := range h.models {
		tasks.Go(func() (err error) {
			results[i], err = model.Answer(ctx, frame)
			return err
		})
	}
	if err := tasks.Wait(); err != nil {
		return looked{}, err
	}
	scene, _ := join.Fuse(join.Joined{Plan: frame.Plan, Results: results}, join.NeedsOf(h.groups), nil, new(depthmap.Unpacker), time.Now())
	return looked{frame.Picture, scene.JSON(), mapOf(scene.Depth, scene.Range)}, nil
}
