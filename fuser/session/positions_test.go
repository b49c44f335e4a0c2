package session_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/fuser/session"
)

// record is a slow bucket.
type record struct {
	mu      sync.Mutex
	written map[string]uint64
	puts    int
	fails   bool
}

func (r *record) SetPosition(_ context.Context, source, _ string, position flow.Position) error {
	time.Sleep(3 * time.Millisecond)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.puts++; r.fails {
		return errors.New("the bucket is full")
	}
	r.written[source] = position.Seq
	return nil
}

// seen is what is written, and with how many puts.
func (r *record) seen() (written map[string]uint64, puts int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.written), r.puts
}

func (r *record) fail(fails bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fails = fails
}

// Positions are written once a second, those that changed, beside those who note them.
func TestPositionsAreWrittenInBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &record{written: map[string]uint64{}}
		w := session.NewWriter(r, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { w.Run(ctx); close(ended) }()
		a, b := session.ID{Source: "a", Name: "s"}, session.ID{Source: "b", Name: "s"}
		begin := time.Now()
		for seq := uint64(1); seq <= 100; seq++ {
			w.Note(a, flow.Position{Seq: seq})
		}
		w.Note(b, flow.Position{Seq: 7})
		if _, puts := r.seen(); time.Since(begin) != 0 || puts != 0 || w.Noted(a) != 100 {
			t.Errorf("noting took %v and wrote %d, noted %d", time.Since(begin), puts, w.Noted(a))
		}
		time.Sleep(1500 * time.Millisecond)
		if written, puts := r.seen(); !maps.Equal(written, map[string]uint64{"a": 100, "b": 7}) || puts != 2 || w.Noted(a) != 0 {
			t.Errorf("written %v with %d puts, noted %d", written, puts, w.Noted(a))
		}
		r.fail(true)
		w.Note(a, flow.Position{Seq: 101})
		time.Sleep(3 * time.Second)
		if written, _ := r.seen(); written["a"] != 100 || w.Noted(a) != 101 {
			t.Errorf("written %d, noted %d of a bucket that is full", written["a"], w.Noted(a))
		}
		r.fail(false)
		cancel()
		<-ended
		w.Write(t.Context()) // as at a stop
		if written, _ := r.seen(); written["a"] != 101 || w.Noted(a) != 0 {
			t.Errorf("written %d, noted %d at the end", written["a"], w.Noted(a))
		}
	})
}
