package rtsp

import (
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/base"

	"github.com/spatial-flow/spatial-flow/producer/source/coded"
)

// Keep-alives go on, with their authentication, while somebody asks what the camera is.
func TestInfoWhileRequested(t *testing.T) {
	t.Parallel()
	c := new(Client)
	var requests sync.WaitGroup
	requests.Go(func() {
		for range 1000 {
			c.onRequest(&base.Request{Header: base.Header{"Authorization": base.HeaderValue{"Digest username=\"admin\""}}})
		}
	})
	for range 1000 {
		_ = c.Info()
	}
	requests.Wait()
	if got := c.Info().Authentication; got != "digest" {
		t.Errorf("the authentication is %q", got)
	}
}

// Units that wait are bounded in bytes, too; one alone may be larger.
func TestQueueBytes(t *testing.T) {
	t.Parallel()
	c := &Client{units: make(chan coded.Unit, queued), cfg: Config{Silence: time.Minute, Whole: time.Minute}}
	large, huge := coded.Unit{Data: make([]byte, queuedBytes/4)}, coded.Unit{Data: make([]byte, queuedBytes+1)}
	for range 3 {
		n := 0
		for c.offer(large) {
			n++
		}
		if n != 4 {
			t.Errorf("%d units of %d bytes wait, want 4", n, len(large.Data))
		}
		for range n {
			if _, err := c.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if !c.offer(huge) || c.offer(coded.Unit{Data: make([]byte, 1)}) {
			t.Error("a unit that is larger than what may wait does not wait alone")
		}
		if _, err := c.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
