// Package source is where pictures come from: folders and video files, cameras, streets, and messages. It is the only
// package of the producer that knows OpenCV.
package source

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Picture is one picture taken from a source, ready to be published.
type Picture struct {
	Data          []byte // JPEG; nil when Broken says why
	Width, Height int    // pixels; 0 when not known
	Captured      time.Time
	Read, Encode  time.Duration
	Broken        string // why it can't be sent; empty: it can

	// EncodeLater, unless nil, makes Data: a picture that is skipped is never encoded. It may be called until the
	// source has been read twice more.
	EncodeLater func() ([]byte, error)

	// Answered, unless nil, is told once what became of the picture: the ack of its frame, or why there is none.
	Answered func(ack *jetstream.PubAck, skipped string)
}

// Answer tells whoever waits for it what became of the picture.
func (p *Picture) Answer(ack *jetstream.PubAck, skipped string) {
	if p.Answered != nil {
		p.Answered(ack, skipped)
	}
}

// Finish encodes what is not encoded yet.
func (p *Picture) Finish() {
	if p.EncodeLater == nil {
		return
	}
	begin := time.Now()
	data, err := p.EncodeLater()
	if err != nil {
		p.Broken = err.Error()
	}
	p.Data, p.Encode, p.EncodeLater = data, time.Since(begin), nil
}

// Source is where pictures come from. Its methods are called by one goroutine at a time.
type Source interface {
	// Next takes the next picture, which may be left to be finished; [io.EOF] is returned after the last one.
	Next(ctx context.Context) (Picture, error)
	// Skip passes n pictures over, or all that are left.
	Skip(ctx context.Context, n uint64) error
	Close() error
}
