package source

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spatial-flow/spatial-flow/flow"
)

// Options are what a source is opened with, beside its settings.
type Options struct {
	Frames  uint64 // take only the first of its pictures; 0: all
	Unpaced bool   // a lossless street runs ahead of its clock, as fast as its pictures are taken
}

// Open opens what a source names, for the first options.Frames of its pictures. frames is their number: 0 is not
// known, or without end. [ErrOpen] or [ErrNoPictures] is returned when there is nothing to read.
func Open(spec Spec, options Options) (s Source, frames uint64, err error) {
	if s, frames, err = openWhole(spec, options); err != nil || options.Frames == 0 {
		return s, frames, err
	}
	if frames == 0 || frames > options.Frames {
		frames = options.Frames
	}
	return &limited{s, options.Frames}, frames, nil
}

func openWhole(spec Spec, options Options) (s Source, frames uint64, err error) {
	switch {
	case spec.street != nil:
		return openStreet(*spec.street, spec.Settings, !options.Unpaced && spec.Mode() == flow.ModeLossless)
	case spec.IsCamera():
		return openCamera(spec)
	}
	path := spec.path
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, 0, fmt.Errorf("%w: %w", ErrOpen, err)
	case info.IsDir():
		return openFolder(path, spec.Settings)
	case !info.Mode().IsRegular():
		return nil, 0, fmt.Errorf("%w: %s is neither a file nor a folder", ErrOpen, path)
	case IsPicture(path):
		return newFolder([]string{path}, spec.Settings), 1, nil
	}
	return openVideo(path, spec.Settings)
}

// IsPicture tells by its name whether a file is read as a picture: .jpg, .jpeg, .png, .bmp or .webp.
func IsPicture(path string) bool {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".jpg", ".jpeg", ".png", ".bmp", ".webp":
		return true
	}
	return false
}

// limited is a source that ends after so many pictures.
type limited struct {
	Source
	left uint64
}

func (l *limited) Next(ctx context.Context) (Picture, error) {
	if l.left == 0 {
		return Picture{}, io.EOF
	}
	p, err := l.Source.Next(ctx)
	if err == nil {
		l.left--
	}
	return p, err
}

func (l *limited) Skip(ctx context.Context, n uint64) error {
	n = min(n, l.left)
	l.left -= n
	return l.Source.Skip(ctx, n)
}

// FPS is how many pictures a second a source says it has; 0: it does not say.
func FPS(s Source) float64 {
	if l, ok := s.(*limited); ok {
		s = l.Source
	}
	if paced, ok := s.(interface{ pace() float64 }); ok {
		return paced.pace()
	}
	return 0
}
