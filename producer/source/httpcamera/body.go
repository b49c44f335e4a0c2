package httpcamera

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/spatial-flow/spatial-flow/producer/source/reason"
)

// body is an answer that is being read. A read that gets nothing for too long ends it.
type body struct {
	in      io.ReadCloser
	rest    io.Reader // of it, what was looked at included
	cancel  context.CancelFunc
	silence time.Duration
	late    atomic.Pointer[error] // why it was ended; nil: it was not
}

func (b *body) Read(p []byte) (int, error) {
	defer b.within(b.silence, reason.ErrSilent, "")()
	return b.in.Read(p)
}

// within ends the answer unless stop is called in time.
func (b *body) within(d time.Duration, kind error, what string) (stop func() bool) {
	return time.AfterFunc(d, func() {
		why := fmt.Errorf("%w%s for %v", kind, what, d)
		b.late.CompareAndSwap(nil, &why)
		b.cancel()
	}).Stop
}

// whole ends the answer unless it has given a picture, and stop is called, in time: bytes alone do not keep it.
func (b *body) whole(d time.Duration) (stop func() bool) {
	return b.within(d, reason.ErrAnswer, ": bytes, but no whole picture")
}

func (b *body) Close() {
	b.cancel()
	_ = b.in.Close()
}
