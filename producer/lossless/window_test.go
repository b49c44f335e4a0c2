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
			(&part{memory: memory}).join()
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

// Sources that come while others have taken their part never take more together than there is, but for one picture each while it
// has no other; what one gives back wakes those who wait, and one that ends gives back all.
func TestMemoryIsNeverExceeded(t *testing.T) {
	t.Parallel()
	const mb, limit, picture = 1 << 20, 64 << 20, 2 << 20
	memory := NewMemory(limit)
	windows, next := make([]*window, 8), uint64(0)
	fill := func(w *window) (n int) {
		for w.fits(picture) {
			next++
			n++
			w.keep(testFrame(next, picture))
		}
		return n
	}
	total := 0
	for i := range windows {
		windows[i] = newWindow(100, memory)
		windows[i].memory.join()
		total += fill(windows[i])
	}
	if most := limit/picture + len(windows) - 2; total > most { // the first two fill it
		t.Fatalf("%d MiB of %d are taken", total*picture/mb, limit/mb)
	}
	waited := make(chan bool)
	go func() { waited <- windows[7].wait(t.Context(), picture) }()
	windows[0].memory.leave()
	if !<-waited {
		t.Error("nothing came of what another gave back")
	}
	if n := fill(windows[7]); n != limit/7/picture-2 { // its share, of which it has two
		t.Errorf("%d pictures more", n)
	}
	windows[0].release(1) // after it has left
	for _, w := range windows[1:] {
		w.memory.leave()
	}
	if memory.taken != 0 || memory.sources != 0 {
		t.Errorf("%d bytes of %d sources are left", memory.taken, memory.sources)
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
