// Package source is where pictures come from: folders and video files, cameras, streets, and messages. It is the only
// package of the producer that knows OpenCV.
package source

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Picture is one picture taken from a source, ready to be published. Whoever has it finishes it, or releases it.
type Picture struct {
	Data          []byte // JPEG; nil when Broken says why, or while there are Pixels
	Width, Height int    // pixels; 0 when not known
	Captured      time.Time
	At            time.Duration // of a film's picture: its time stamp, from the film's start
	File          string        // name of the file that it alone is in, as [flow.FileName] writes it; empty: none
	Read, Encode  time.Duration
	Broken        string // why it can't be sent; empty: it can
	Note          string // what there is to say of its source as it is now; empty: nothing
	Pixels        Pixels // unless nil, what Data is made of: a picture that is skipped is never encoded

	// Answered, unless nil, is told once what became of the picture: the ack of its frame, or why there is none.
	Answered func(ack *jetstream.PubAck, skipped string)
}

// Pixels are what a picture is encoded from. They are the picture's own: its source may be read on, and closed.
type Pixels interface {
	// Encode makes a JPEG, and says how large its picture is. An error is about the picture.
	Encode() (data []byte, width, height int, err error)
	// Release gives the memory back. Nothing else is called after it.
	Release()
}

// Answer tells whoever waits for it what became of the picture.
func (p *Picture) Answer(ack *jetstream.PubAck, skipped string) {
	if p.Answered != nil {
		p.Answered(ack, skipped)
	}
}

// Finish encodes what is not encoded yet.
func (p *Picture) Finish() {
	if p.Pixels == nil {
		return
	}
	defer p.Release()
	begin := time.Now()
	data, width, height, err := p.Pixels.Encode()
	p.Encode += time.Since(begin)
	if err != nil {
		p.Broken = err.Error()
		return
	}
	p.Data, p.Width, p.Height = data, width, height
}

// Release gives back what a picture that is not finished holds.
func (p *Picture) Release() {
	if p.Pixels != nil {
		p.Pixels.Release()
		p.Pixels = nil
	}
}

// Source is where pictures come from. Its methods are called by one goroutine at a time.
type Source interface {
	// Next takes the next picture, which is to be finished or released; [io.EOF] is returned after the last one.
	Next(ctx context.Context) (Picture, error)
	// Skip passes n pictures over, or all that are left.
	Skip(ctx context.Context, n uint64) error
	// Corrupt counts, so far, packets that were broken: passed over, or made into pictures that have lost something.
	Corrupt() uint64
	Close() error
}
