package producer

import (
	"context"
	"fmt"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/service"
)

// Pictures reads the pictures of a source once more, as a producer with the same settings publishes them: for those who
// have its scenes and want to see what they are of.
type Pictures struct{ source source }

// OpenPictures opens what a --source names. Errors are those of [Config.Validate], [ErrOpen] and [ErrNoPictures];
// [ErrConfig] is returned for a camera, whose pictures can't be read again.
func OpenPictures(arg string) (*Pictures, error) {
	var cfg Config
	if err := service.Defaults(&cfg); err != nil {
		return nil, err
	}
	cfg.Mode, cfg.Unpaced = flow.ModeLossless, true
	specs, err := parseSources([]string{arg}, cfg.settings())
	if err != nil {
		return nil, err
	}
	s, _, err := openSource(specs[0], cfg)
	if err != nil {
		return nil, err
	}
	return &Pictures{s}, nil
}

// Next is the next picture as JPEG; the picture of the scene with seq n is the nth. [io.EOF] is returned after the last
// one, [ErrPicture] for one that is broken, which counts.
func (p *Pictures) Next(ctx context.Context) ([]byte, error) {
	next, err := p.source.Next(ctx)
	if err != nil {
		return nil, err
	}
	if next.finish(); next.broken != "" {
		return nil, fmt.Errorf("%w: %s", ErrPicture, next.broken)
	}
	return next.data, nil
}

// FPS is how many pictures a second the source says it has; 0: it does not say.
func (p *Pictures) FPS() float64 {
	if paced, ok := p.source.(interface{ pace() float64 }); ok {
		return paced.pace()
	}
	return 0
}

// Close closes the source.
func (p *Pictures) Close() error { return p.source.Close() }
