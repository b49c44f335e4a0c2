package source

import (
	"context"
	"fmt"
	"io"

	"github.com/spatial-flow/spatial-flow/producer/source/folder"
)

// pictures reads picture files one after the other.
type pictures struct {
	paths  []string // not yet read
	intake Intake
	watch  *folder.Watch // for files that come later; nil: it ends
}

func openFolder(path string, s Settings) (Source, Info, error) {
	if s.Watch {
		watch, paths, others, err := folder.NewWatch(path)
		if err != nil {
			return nil, Info{}, fmt.Errorf("%w: %w", ErrOpen, err)
		}
		p := newPictures(paths, s)
		p.watch = watch
		return p, Info{Note: others.String}, nil
	}
	paths, others, err := folder.List(path)
	if err != nil {
		return nil, Info{}, fmt.Errorf("%w: %w", ErrOpen, err)
	}
	if len(paths) == 0 {
		err := fmt.Errorf("%w: folder %s holds no JPEG, PNG, BMP, WebP, TIFF or GIF", ErrNoPictures, path)
		if said := others.String(); said != "" {
			err = fmt.Errorf("%w (%s)", err, said)
		}
		return nil, Info{}, err
	}
	return newPictures(paths, s), Info{Frames: uint64(len(paths)), Note: others.String}, nil
}

func newPictures(paths []string, s Settings) *pictures {
	return &pictures{paths: paths, intake: Intake{s}}
}

func (p *pictures) Next(ctx context.Context) (Picture, error) {
	if err := ctx.Err(); err != nil {
		return Picture{}, err
	}
	if len(p.paths) == 0 && p.watch != nil {
		var err error
		if p.paths, err = p.watch.Next(ctx); err != nil {
			return Picture{}, err
		}
	}
	if len(p.paths) == 0 {
		return Picture{}, io.EOF
	}
	path := p.paths[0]
	p.paths = p.paths[1:]
	return p.intake.file(path), nil
}

func (p *pictures) Skip(_ context.Context, n uint64) error {
	p.paths = p.paths[min(n, uint64(len(p.paths))):]
	return nil
}

func (p *pictures) Corrupt() uint64 { return 0 }

func (p *pictures) Close() error { return nil }
