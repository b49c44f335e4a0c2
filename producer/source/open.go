package source

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/producer/source/coded"
	"github.com/spatial-flow/spatial-flow/producer/source/folder"
)

// Options are what a source is opened with, beside its settings.
type Options struct {
	Frames  uint64 // take only the first of its pictures; 0: all
	Unpaced bool   // a lossless street runs ahead of its clock, as fast as its pictures are taken
	Film    Film

	// Fetching, unless nil, is told what there is to say while a film at an address is fetched, which may take long; empty: it is here.
	Fetching func(note string)

	// Load is what the cameras of a process share: whether there is time to decode every picture. nil: this one has its own.
	Load *coded.Load
}

// Info is what a source says of itself.
type Info struct {
	Frames  uint64    // that it has, or, of a film, that it claims; 0: not known, or without end
	FPS     float64   // pictures a second; 0: it does not say
	Stamped bool      // its pictures have time stamps
	Film    *FilmFile // nil: it is none
	Camera  bool      // it has a pace of its own, and no end
	// Note says, at any time, what of the source is not carried; nil or empty: there is nothing to say. It may be called from many
	// goroutines, and after the source is closed.
	Note func() string
}

// Open opens what a source names, for the first options.Frames of its pictures. It ends, and what it opened with it, when ctx
// does. [ErrOpen], [ErrNoPictures] or, of cameras, [ErrRefused] or an error of package reason is returned when there is nothing to read.
func Open(ctx context.Context, spec Spec, options Options) (Source, Info, error) {
	s, info, err := openWhole(ctx, spec, options)
	if err != nil || options.Frames == 0 {
		return s, info, err
	}
	if info.Frames == 0 || info.Frames > options.Frames {
		info.Frames = options.Frames
	}
	return &limited{s, options.Frames}, info, nil
}

func openWhole(ctx context.Context, spec Spec, options Options) (Source, Info, error) {
	switch {
	case spec.street != nil:
		return openStreet(*spec.street, spec.Settings, !options.Unpaced && spec.Mode() == flow.ModeLossless)
	case spec.device != nil:
		return openDevice(ctx, spec, options.Film)
	case spec.camera != nil:
		return openCamera(ctx, spec, options)
	}
	path := spec.path
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, Info{}, fmt.Errorf("%w: %w", ErrOpen, err)
	case info.IsDir():
		return openFolder(path, spec.Settings)
	case !info.Mode().IsRegular():
		return nil, Info{}, fmt.Errorf("%w: %s is neither a file nor a folder", ErrOpen, path)
	}
	named := folder.IsPicture(path) && !strings.EqualFold(filepath.Ext(path), ".gif") // a film, of one picture or more
	begins, err := folder.BeginsPicture(path)
	switch {
	case named || begins:
		return newPictures([]string{path}, spec.Settings), Info{Frames: 1}, nil
	case err != nil:
		return nil, Info{}, fmt.Errorf("%w: %s: %w", ErrOpen, path, err)
	}
	return openFilm(path, fileName(path), spec.Settings, options.Film)
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
