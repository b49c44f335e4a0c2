package lossless

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/spatial-flow/spatial-flow/flow"
)

// window keeps the frames of one source that are under way. Its methods may be called from many goroutines.
type window struct {
	most   int
	memory *part // of their pictures

	mu   sync.Mutex
	open map[uint64]*kept // by seq
	// behind are, by group that is not required and by seq, the frames that the group has not answered, with their scene or
	// without.
	behind map[string]map[uint64]unanswered
}

// kept is a frame that has no scene yet. Who holds it may change it, and nobody else.
type kept struct {
	frame  *flow.Frame
	bytes  int
	stored uint64 // sequence in FRAMES of its last copy; 0: not stored yet
	held   bool   // under the lock of the window
}

func newWindow(most int, memory *Memory) *window {
	return &window{
		most: most, memory: &part{memory: memory},
		open: map[uint64]*kept{}, behind: map[string]map[uint64]unanswered{},
	}
}

// keep adds a frame, for which wait has made room, before it is published, and holds it.
func (w *window) keep(frame *flow.Frame) *kept {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := &kept{frame: frame, bytes: len(frame.Picture), held: true}
	w.open[frame.Seq] = k
	return k
}

// hold holds a frame that is under way. It is nil when there is none, or another holds it.
func (w *window) hold(seq uint64) *kept {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.open[seq]
	if k == nil || k.held {
		return nil
	}
	k.held = true
	return k
}

// free ends what hold or keep began.
func (w *window) free(k *kept) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k.held = false
}

// release forgets a frame that has its scene.
func (w *window) release(seq uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.open[seq]
	if k == nil {
		return
	}
	delete(w.open, seq)
	w.memory.give(k.bytes)
}

// wait waits until one more frame with a picture of so many bytes may be under way, and takes the memory for it, which the frame has
// from then on; false is returned when ctx ends first. One goroutine waits at a time.
func (w *window) wait(ctx context.Context, bytes int) bool {
	return w.until(ctx, func() bool { return len(w.open) < w.most && w.memory.take(bytes) })
}

// drained waits until no frame is under way; false is returned when ctx ends first.
func (w *window) drained(ctx context.Context) bool {
	return w.until(ctx, func() bool { return len(w.open) == 0 })
}

func (w *window) until(ctx context.Context, so func() bool) bool {
	for {
		room := w.memory.room() // before it is looked at
		w.mu.Lock()
		ok := so()
		w.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-room:
		}
	}
}

// unanswered is a frame that a group has not answered. It keeps no picture.
type unanswered struct {
	frame    *flow.Frame // its identity alone
	sequence uint64      // in FRAMES; 0: not stored yet
}

// expect notes that a group that is not required is to answer a frame.
func (w *window) expect(group string, frame *flow.Frame) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.behind[group] == nil {
		w.behind[group] = map[uint64]unanswered{}
	}
	w.behind[group][frame.Seq] = unanswered{frame: identity(frame)}
}

// storedAt notes where a frame, or its newest copy, is in FRAMES.
func (w *window) storedAt(frame *flow.Frame, sequence uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, frames := range w.behind {
		if _, waits := frames[frame.Seq]; waits {
			frames[frame.Seq] = unanswered{identity(frame), sequence}
		}
	}
}

func identity(f *flow.Frame) *flow.Frame {
	return &flow.Frame{Source: f.Source, Session: f.Session, Seq: f.Seq, Mode: f.Mode, Copy: f.Copy}
}

// answered notes that a group has answered a frame, or never will.
func (w *window) answered(group string, seq uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.behind[group], seq)
}

// keepsUp says whether a group that is not required has fewer frames unanswered than the window has.
func (w *window) keepsUp(group string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.behind[group]) < w.most
}

// oldest is the oldest unanswered frame of each group that does not keep up.
func (w *window) oldest() map[string]unanswered {
	w.mu.Lock()
	defer w.mu.Unlock()
	oldest := map[string]unanswered{}
	for group, frames := range w.behind {
		if len(frames) >= w.most {
			oldest[group] = frames[slices.Min(slices.Collect(maps.Keys(frames)))]
		}
	}
	return oldest
}
