package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"time"

	"gocv.io/x/gocv"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/producer/source/ffmpeg"
)

// Film is how films are read.
type Film struct {
	Strict     bool     // one with broken packets fails, with [ErrCorrupt], once all of it is read
	DecodeArgs []string // further words for ffmpeg: see [ffmpeg.DecodeArgs]
}

// filmSilence is how long ffmpeg may give no picture while one is waited for: a network file system may take its time.
const filmSilence = time.Minute

// film reads a video file through ffmpeg.
type film struct {
	*ffmpeg.Film
	name     string
	strict   bool
	mats     mats
	settings Settings
}

func openFilm(path string, s Settings, how Film) (Source, Info, error) {
	ctx, name := context.Background(), fileName(path) // it is killed by Close
	probed, err := ffmpeg.Probe(ctx, path)
	if err != nil {
		return nil, Info{}, fmt.Errorf("%w: %s: %w", ErrOpen, name, err)
	}
	w, h := probed.Width, probed.Height
	if w < 1 || h < 1 || w > maxPixels/h || max(w, h) > flow.MaxDimension {
		return nil, Info{}, fmt.Errorf("%w: %s has pictures of %dx%d, want 1 to %d pixels and sides of at most %d", ErrOpen, name, w, h, maxPixels, flow.MaxDimension)
	}
	opened, err := ffmpeg.OpenFilm(ctx, path, probed, ffmpeg.FilmOptions{Silence: filmSilence, Args: how.DecodeArgs})
	if err != nil {
		return nil, Info{}, fmt.Errorf("%w: %s: %w", ErrOpen, name, err)
	}
	return &film{Film: opened, name: name, strict: how.Strict, settings: s}, Info{Frames: probed.Frames, FPS: probed.FPS, Stamped: true}, nil
}

// fileName is the name of a file as it can be shown in a line: the path to it may be long.
func fileName(path string) string {
	name := filepath.Base(path)
	if quoted := strconv.Quote(name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}

// Next takes a picture, whose capture is the moment when it is read: what a film says of when it was recorded is often wrong.
func (f *film) Next(ctx context.Context) (Picture, error) {
	if err := ctx.Err(); err != nil {
		return Picture{}, err
	}
	p := Picture{Captured: time.Now().UTC()}
	var mat gocv.Mat
	taken, planar := false, false
	at, err := f.Film.Next(ctx, func(l ffmpeg.Layout) []byte {
		taken, planar = true, l.Planar
		if planar {
			mat = f.mats.getSized(l.Height*3/2, l.Width, gocv.MatTypeCV8UC1)
		} else {
			mat = f.mats.getSized(l.Height, l.Width, gocv.MatTypeCV8UC3)
		}
		p.Width, p.Height = f.settings.fit(l.Width, l.Height)
		pixels, _ := mat.DataPtrUint8() // it is continuous: it was made as a whole
		return pixels
	})
	if err != nil {
		if taken {
			f.mats.put(mat)
		}
		return Picture{}, f.why(ctx, err)
	}
	p.Read, p.At = time.Since(p.Captured), at
	p.Pixels = decoded{mat, &f.mats, f.settings, planar}
	return p, nil
}

// why is an error of reading, with the name of the film.
func (f *film) why(ctx context.Context, err error) error {
	switch corrupt := f.Corrupt(); {
	case ctx.Err() != nil:
		return ctx.Err()
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("%w %s: %w", ErrFilm, f.name, err)
	case f.strict && corrupt > 0:
		return fmt.Errorf("%w %s: %d %w", ErrFilm, f.name, corrupt, ErrCorrupt)
	}
	return io.EOF
}

// Skip decodes what it passes over: a film has no other way to its nth picture that is exact.
func (f *film) Skip(ctx context.Context, n uint64) error {
	for ; n > 0; n-- {
		_, err := f.Film.Next(ctx, func(ffmpeg.Layout) []byte { return nil })
		if errors.Is(err, io.EOF) {
			return nil // the next read says it
		}
		if err != nil {
			return f.why(ctx, err)
		}
	}
	return nil
}

func (f *film) Close() error {
	return errors.Join(f.Film.Close(), f.mats.close())
}
