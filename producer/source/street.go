package source

import (
	"context"
	"fmt"
	"image"
	"io"
	"sync"
	"time"

	"gocv.io/x/gocv"

	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/producer/street"
)

// generated takes the frames of a street. Paced it is never ahead of its clock, which starts with the first frame
// taken; when the pipeline is slower it falls behind, and none is left out.
type generated struct {
	street   *street.Street
	frames   sync.Pool // *street.Frame
	next     uint64    // frame of the street
	first    uint64    // frame that the clock started with
	started  time.Time
	paced    bool // else as fast as they are taken
	settings Settings
}

func openStreet(cfg street.Config, set Settings, paced bool) (Source, Info, error) {
	s, err := street.New(cfg)
	if err != nil {
		return nil, Info{}, fmt.Errorf("%w: %w", ErrOpen, err)
	}
	return &generated{street: s, frames: sync.Pool{New: func() any { return new(street.Frame) }}, paced: paced, settings: set}, Info{FPS: s.Config().FPS}, nil
}

func (g *generated) Next(ctx context.Context) (Picture, error) {
	if err := ctx.Err(); err != nil {
		return Picture{}, err
	}
	if g.next >= street.MaxFrames {
		return Picture{}, io.EOF
	}
	if !g.keepTime(ctx) {
		return Picture{}, ctx.Err()
	}
	p := Picture{Captured: time.Now().UTC()}
	frame := g.frames.Get().(*street.Frame)
	if err := g.street.Render(g.next, frame); err != nil {
		return Picture{}, fmt.Errorf("render frame %d: %w", g.next, err)
	}
	g.next++
	p.Read = time.Since(p.Captured)
	p.Width, p.Height = g.settings.fit(frame.Image.Rect.Dx(), frame.Image.Rect.Dy())
	p.Pixels = rendered{frame, g}
	return p, nil
}

// keepTime waits until the next frame is due; false is returned when ctx ends first.
func (g *generated) keepTime(ctx context.Context) bool {
	if !g.paced {
		return true
	}
	if g.started.IsZero() {
		g.started, g.first = time.Now(), g.next
		return true
	}
	due := time.Duration(float64(g.next-g.first) / g.street.Config().FPS * float64(time.Second))
	if wait := due - time.Since(g.started); wait > 0 {
		return clock.Sleep(ctx, wait)
	}
	return true
}

// rendered are the pixels of a frame of a street.
type rendered struct {
	frame  *street.Frame
	street *generated
}

func (r rendered) Release() { r.street.frames.Put(r.frame) }

func (r rendered) Encode() (data []byte, width, height int, err error) {
	img, set := r.frame.Image, r.street.settings
	width, height = set.fit(img.Rect.Dx(), img.Rect.Dy())
	data, err = encodeRGBA(img, set)
	return data, width, height, err
}

func encodeRGBA(img *image.RGBA, set Settings) ([]byte, error) {
	rgba, err := gocv.NewMatFromBytes(img.Rect.Dy(), img.Rect.Dx(), gocv.MatTypeCV8UC4, img.Pix)
	if err != nil {
		return nil, fmt.Errorf("%w: take frame: %w", errBroken, err)
	}
	defer func() { _ = rgba.Close() }()
	bgr := gocv.NewMat()
	defer func() { _ = bgr.Close() }()
	if err := gocv.CvtColor(rgba, &bgr, gocv.ColorRGBAToBGR); err != nil {
		return nil, fmt.Errorf("%w: convert colours: %w", errBroken, err)
	}
	return encode(bgr, set)
}

// Skip costs nothing: a frame is rendered without those before it.
func (g *generated) Skip(_ context.Context, n uint64) error {
	g.next += min(n, street.MaxFrames-g.next)
	return nil
}

// Close frees nothing: a street is memory alone.
func (g *generated) Corrupt() uint64 { return 0 }

func (g *generated) Close() error { return nil }
