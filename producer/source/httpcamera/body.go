package httpcamera

import (
	"context"
	"io"
	"time"
)

// body is an answer that is being read. A read that gets nothing for too long ends it.
type body struct {
	in      io.ReadCloser
	rest    io.Reader // of it, what was looked at included
	cancel  context.CancelFunc
	silence time.Duration
	silent  bool
}

func (b *body) Read(p []byte) (int, error) {
	timer := time.AfterFunc(b.silence, b.cancel)
	n, err := b.in.Read(p)
	if !timer.Stop() && err != nil {
		b.silent = true
	}
	return n, err
}

func (b *body) Close() {
	b.cancel()
	_ = b.in.Close()
}
