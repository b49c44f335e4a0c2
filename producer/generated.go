package producer

import (
	"context"
	"fmt"
	"io"
	"time"

	"gocv.io/x/gocv"

	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/producer/street"
)

// generated takes the frames of a street. Paced it is never ahead of its clock, which starts with the first frame
// taken; when the pipeline is slower it falls behind, and none is left out.
type generated struct {
	street  *street.Street
	frame   street.Frame
	next    uint64 // frame of the street
	first   uint64 // frame that the clock started with
	started time.Time
	mat     gocv.Mat // of the frame in hand, used again for the next
	paced   bool     // else as fast as they are taken
	quality int
}

func openStreet(cfg street.Config, quality int, paced bool) (source, uint64, error) {
	s, err := street.New(cfg)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrOpen, err)
	}
	return &generated{street: s, mat: gocv.NewMat(), paced: paced, quality: quality}, 0, nil
}

func (g *generated) Next(ctx context.Context) (picture, error) {
	if err := ctx.Err(); err != nil {
		return picture{}, err
	}
	if g.next >= street.MaxFrames {
		return picture{}, io.EOF
	}
	if !g.pace(ctx) {
		return picture{}, ctx.Err()
	}
	p := picture{captured: time.Now().UTC()}
	if err := g.street.Render(g.next, &g.frame); err != nil {
		return picture{}, fmt.Errorf("render frame %d: %w", g.next, err)
	}
	g.next++
	rendered := time.Now()
	p.read = rendered.Sub(p.captured)
	p.width, p.height = g.frame.Image.Rect.Dx(), g.frame.Image.Rect.Dy()
	data, err := g.encode()
	if err != nil {
		p.broken = err.Error()
	}
	p.data, p.encode = data, time.Since(rendered)
	return p, nil
}

// pace waits until the next frame is due; false is returned when ctx ends first.
func (g *generated) pace(ctx context.Context) bool {
	if !g.paced {
		return true
	}
	if g.started.IsZero() {
		g.started, g.first = time.Now(), g.next
		return true
	}
	due := time.Duration(float64(g.next-g.first) / g.street.Config().FPS * float64(time.Second))
	if wait := due - time.Since(g.started); wait > 0 {
		return bus.Sleep(ctx, wait)
	}
	return true
}

// encode makes a JPEG of the frame in hand.
func (g *generated) encode() ([]byte, error) {
	img := g.frame.Image
	rgba, err := gocv.NewMatFromBytes(img.Rect.Dy(), img.Rect.Dx(), gocv.MatTypeCV8UC4, img.Pix)
	if err != nil {
		return nil, fmt.Errorf("%w: take frame: %w", errBroken, err)
	}
	defer func() { _ = rgba.Close() }()
	if err := gocv.CvtColor(rgba, &g.mat, gocv.ColorRGBAToBGR); err != nil {
		return nil, fmt.Errorf("%w: convert colours: %w", errBroken, err)
	}
	return encode(g.mat, g.quality)
}

// Skip costs nothing: a frame is rendered without those before it.
func (g *generated) Skip(_ context.Context, n uint64) error {
	g.next += min(n, street.MaxFrames-g.next)
	return nil
}

func (g *generated) Close() error { return g.mat.Close() }
