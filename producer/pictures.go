package producer

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/producer/source"
	"github.com/spatial-flow/spatial-flow/producer/source/folder"
)

// Pictures reads the pictures of a source once more, as a producer with the same settings publishes them: for those who
// have its scenes and want to see what they are of.
type Pictures struct {
	source source.Source
	fps    float64
}

// OpenPictures opens what a --source names. Errors are those of [Config.Validate], [ErrOpen] and [ErrNoPictures];
// [ErrConfig] is returned for a camera, whose pictures can't be read again.
func OpenPictures(ctx context.Context, arg string) (*Pictures, error) {
	var cfg Config
	if err := service.Defaults(&cfg); err != nil {
		return nil, err
	}
	cfg.Mode = flow.ModeLossless
	specs, err := source.Parse([]string{arg}, cfg.settings())
	if err != nil {
		return nil, err
	}
	s, info, err := source.Open(ctx, specs[0], source.Options{Unpaced: true})
	if err != nil {
		return nil, err
	}
	return &Pictures{s, info.FPS}, nil
}

// Next is the next picture as JPEG; the picture of the scene with seq n is the nth. [io.EOF] is returned after the last
// one, [ErrPicture] for one that is broken, which counts.
func (p *Pictures) Next(ctx context.Context) ([]byte, error) {
	next, err := p.source.Next(ctx)
	if err != nil {
		return nil, err
	}
	if next.Finish(); next.Broken != "" {
		return nil, fmt.Errorf("%w: %s", ErrPicture, next.Broken)
	}
	return next.Data, nil
}

// ReadPicture is the first picture of a file as a producer publishes it, a JPEG, and its size in pixels. [ErrPicture] or [ErrOpen] is
// returned, naming the file, when there is none.
func ReadPicture(ctx context.Context, path string) (data []byte, width, height int, err error) {
	absolute, err := filepath.Abs(path) // a name may look like a URI, or have a # in it
	if err != nil {
		return nil, 0, 0, fmt.Errorf("%w: %w", ErrOpen, err)
	}
	p, err := OpenPictures(ctx, "picture="+absolute)
	if err != nil {
		return nil, 0, 0, err
	}
	defer p.Close()
	next, err := p.source.Next(ctx)
	if err != nil {
		return nil, 0, 0, err
	}
	if next.Finish(); next.Broken != "" {
		return nil, 0, 0, brokenPicture{next.Broken}
	}
	return next.Data, next.Width, next.Height, nil
}

// brokenPicture is [ErrPicture], in the words of the frame's error.
type brokenPicture struct{ says string }

func (b brokenPicture) Error() string { return b.says }
func (b brokenPicture) Unwrap() error { return ErrPicture }

// FPS is how many pictures a second the source says it has; 0: it does not say.
func (p *Pictures) FPS() float64 { return p.fps }

// IsPicture tells by its name whether a file is a picture.
func IsPicture(path string) bool { return folder.IsPicture(path) }

// Close closes the source.
func (p *Pictures) Close() error { return p.source.Close() }
