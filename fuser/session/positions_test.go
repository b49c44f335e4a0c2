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
		if time.Since(begin) != 0 || r.puts != 0 || w.Noted(a) != 100 {
			t.Errorf("noting took %v and wrote %d, noted %d", time.Since(begin), r.puts, w.Noted(a))
		}
		time.Sleep(1500 * time.Millisecond)
		if want := map[string]uint64{"a": 100, "b": 7}; !maps.Equal(r.written, want) || r.puts != 2 || w.Noted(a) != 0 {
			t.Errorf("written %v with %d puts, noted %d", r.written, r.puts, w.Noted(a))
		}
		r.fails = true
		w.Note(a, flow.Position{Seq: 101})
		time.Sleep(3 * time.Second)
		if r.written["a"] != 100 || w.Noted(a) != 101 {
			t.Errorf("written %d, noted %d of a bucket that is full", r.written["a"], w.Noted(a))
		}
		r.fails = false
		cancel()
		<-ended
		w.Write(t.Context()) // as at a stop
		if r.written["a"] != 101 || w.Noted(a) != 0 {
			t.Errorf("written %d, noted %d at the end", r.written["a"], w.Noted(a))
		}
	})
}
