package lossless

import (
	"context"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
)

func testFrame(seq uint64, bytes int) *flow.Frame {
	return &flow.Frame{Source: "a", Session: "s", Seq: seq, Mode: flow.ModeLossless, Picture: make([]byte, bytes)}
}

// fits says whether one more frame fits into a window now.
func (w *window) fits(bytes int) bool {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	return w.wait(ended, bytes)
}

// A window is full by number or by bytes, whichever is first; one frame always fits, and what leaves makes room.
func TestWindowIsBounded(t *testing.T) {
	t.Parallel()
	const mb = 1 << 20
	for name, test := range map[string]struct {
		most, bytes, memory, sources, want int
	}{
		"by number":                           {most: 4, bytes: 1, memory: 512 * mb, sources: 1, want: 4},
		"by the bytes of a source":            {most: 100, bytes: 2 * mb, memory: 512 * mb, sources: 1, want: 16},
		"by the memory of all":                {most: 100, bytes: 2 * mb, memory: 64 * mb, sources: 4, want: 8},
		"a frame larger than there is memory": {most: 100, bytes: 3 * mb, memory: mb, sources: 64, want: 1},
	} {
		memory := NewMemory(test.memory)
		for range test.sources {
			defer memory.join()()
		}
		w, n := newWindow(test.most, memory), 0
		for w.fits(test.bytes) && n < 200 {
			n++
			w.keep(testFrame(uint64(n), test.bytes))
		}
		if n != test.want {
			t.Errorf("%s: %d frames, want %d", name, n, test.want)
		}
		w.release(1)
		w.release(1) // again changes nothing
		if !w.fits(test.bytes) {
			t.Errorf("%s: what left made no room", name)
		}
	}
}

// A source that ends leaves its part to the others.
func TestMemoryIsSharedByThoseWhoAreThere(t *testing.T) {
	t.Parallel()
	memory := NewMemory(32 << 20)
	left := memory.join()
	defer memory.join()()
	if share := memory.share(); share != 16<<20 {
		t.Errorf("two sources have %d bytes each", share)
	}
	left()
	if share := memory.share(); share != 32<<20 {
		t.Errorf("one source has %d bytes", share)
	}
}

func TestWindowWaits(t *testing.T) {
	t.Parallel()
	w := newWindow(1, NewMemory(1<<20))
	w.keep(testFrame(1, 1))
	go w.release(1)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if !w.drained(ctx) {
		t.Error("what left was not noticed")
	}
}

// A group that is not required is asked for no more frames than the window has, whatever of them has its scene already.
func TestFollowersKeepUp(t *testing.T) {
	t.Parallel()
	w := newWindow(2, NewMemory(1<<20))
	for seq := range uint64(2) {
		if !w.keepsUp("shadow") {
			t.Fatalf("with %d frames unanswered it does not keep up", seq)
		}
		f := testFrame(seq+1, 1)
		w.keep(f)
		w.expect("shadow", f)
		w.storedAt(f, 10+seq)
		w.release(f.Seq)
	}
	if w.keepsUp("shadow") {
		t.Error("it keeps up with two frames unanswered")
	}
	if oldest := w.oldest()["shadow"]; oldest.sequence != 10 || oldest.frame.Seq != 1 {
		t.Errorf("oldest %+v", oldest)
	}
	w.answered("shadow", 1)
	if !w.keepsUp("shadow") || len(w.oldest()) != 0 {
		t.Error("an answer made no room")
	}
}
