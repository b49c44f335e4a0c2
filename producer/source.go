package producer

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
)

// maxPicture is what a picture may take of a message, in bytes: the rest of the frame fits beside it.
const maxPicture = bus.MaxMessage - 8<<10

// Bounds of a picture file, checked before it is decoded.
const (
	maxFileBytes = 64 << 20
	maxPixels    = 64 << 20
)

// picture is one picture taken from a source, ready to be published.
type picture struct {
	data          []byte // JPEG; nil when broken says why
	width, height int    // pixels; 0 when not known
	captured      time.Time
	read, encode  time.Duration
	broken        string

	// encodeLater, unless nil, makes data: a picture that is skipped is never encoded. It may be called until the
	// source has been read twice more.
	encodeLater func() ([]byte, error)

	// answered, unless nil, is told once what became of the picture: the ack of its frame, or why there is none.
	answered func(ack *jetstream.PubAck, skipped string)
}

// answer tells whoever waits for it what became of the picture.
func (p *picture) answer(ack *jetstream.PubAck, skipped string) {
	if p.answered != nil {
		p.answered(ack, skipped)
	}
}

// finish encodes what is not encoded yet.
func (p *picture) finish() {
	if p.encodeLater == nil {
		return
	}
	begin := time.Now()
	data, err := p.encodeLater()
	if err != nil {
		p.broken = err.Error()
	}
	p.data, p.encode, p.encodeLater = data, time.Since(begin), nil
}

// source is where pictures come from. Its methods are called by one goroutine at a time.
type source interface {
	// Next takes the next picture, which may be left to be finished; [io.EOF] is returned after the last one.
	Next(ctx context.Context) (picture, error)
	// Skip passes n pictures over, or all that are left.
	Skip(ctx context.Context, n uint64) error
	Close() error
}

// openSource opens what a source names, for the first cfg.Frames of its pictures. frames is their number: 0 is not
// known, or without end. [ErrOpen] or [ErrNoPictures] is returned when there is nothing to read.
func openSource(spec spec, cfg Config) (s source, frames uint64, err error) {
	if s, frames, err = openWhole(spec, cfg); err != nil || cfg.Frames == 0 {
		return s, frames, err
	}
	if frames == 0 || frames > cfg.Frames {
		frames = cfg.Frames
	}
	return &limited{s, cfg.Frames}, frames, nil
}

func openWhole(spec spec, cfg Config) (s source, frames uint64, err error) {
	switch {
	case spec.street != nil:
		return openStreet(*spec.street, spec.settings, !cfg.Unpaced && spec.mode() == flow.ModeLossless)
	case spec.isCamera():
		return openCamera(spec)
	}
	path := spec.path
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, 0, fmt.Errorf("%w: %w", ErrOpen, err)
	case info.IsDir():
		return openFolder(path, spec.settings)
	case !info.Mode().IsRegular():
		return nil, 0, fmt.Errorf("%w: %s is neither a file nor a folder", ErrOpen, path)
	case IsPicture(path):
		return newFolder([]string{path}, spec.settings), 1, nil
	}
	return openVideo(path, spec.settings)
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
	source
	left uint64
}

func (l *limited) Next(ctx context.Context) (picture, error) {
	if l.left == 0 {
		return picture{}, io.EOF
	}
	p, err := l.source.Next(ctx)
	if err == nil {
		l.left--
	}
	return p, err
}

func (l *limited) Skip(ctx context.Context, n uint64) error {
	n = min(n, l.left)
	l.left -= n
	return l.source.Skip(ctx, n)
}
