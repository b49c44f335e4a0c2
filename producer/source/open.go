package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/picture"
	"github.com/spatial-flow/spatial-flow/producer/source/coded"
)

// Options are what a source is opened with, beside its settings.
type Options struct {
	Frames  uint64 // take only the first of its pictures; 0: all
	Unpaced bool   // a lossless street runs ahead of its clock, as fast as its pictures are taken
	Film    Film

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
		return openDevice(*spec.device, spec)
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
	named := IsPicture(path) && !strings.EqualFold(filepath.Ext(path), ".gif") // a film, of one picture or more
	begins, err := beginsPicture(path)
	switch {
	case named || begins:
		return newFolder([]string{path}, spec.Settings), Info{Frames: 1}, nil
	case err != nil:
		return nil, Info{}, fmt.Errorf("%w: %s: %w", ErrOpen, path, err)
	}
	return openFilm(path, spec.Settings, options.Film)
}

// pictureNames are how names of pictures end.
var pictureNames = []string{".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".gif"}

// IsPicture tells by its name whether a file is a picture. What it is decoded as, its bytes say.
func IsPicture(path string) bool {
	return slices.Contains(pictureNames, strings.ToLower(filepath.Ext(path)))
}

// beginsPicture tells by its first bytes, whatever its name, whether a file is read as a picture. [picture.ErrKind] is returned
// for pictures that are not read. GIFs are films; BMP and TIFF begin too little like themselves to be known without a name.
func beginsPicture(path string) (bool, error) {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return false, nil // whoever opens it says so; a pipe would wait
	}
	file, err := os.Open(path)
	if err != nil {
		return false, nil
	}
	defer file.Close()
	head := make([]byte, picture.HeadSize)
	n, _ := io.ReadFull(file, head) // a shorter file has what it has
	kind, err := picture.KindOf(head[:n])
	if errors.Is(err, picture.ErrKind) {
		return false, err
	}
	return kind == picture.JPEG || kind == picture.PNG || kind == picture.WebP, nil
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
