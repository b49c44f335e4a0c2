package workers

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
)

const (
	holdEvery = time.Second // InProgress of the frames in hand; AckWait is 3 s
	handBytes = 64 << 20    // of frames in hand, as they came: no more are taken then
	storeMost = 16          // results of a mode on their way, beyond the frames before them
)

// hand is what a worker has in hand, and whether it takes more.
type hand struct {
	parallel int // runs of the model at once
	prefetch int // most frames of a mode beyond those

	mu      sync.Mutex
	tasks   map[*task]struct{}
	number  map[flow.Mode]int
	ahead   map[flow.Mode]int // of prefetch, what it pays to take
	bytes   int
	pauses  int           // that are under way
	changed chan struct{} // closed when more may be taken
}

func newHand(parallel, prefetch int) *hand {
	return &hand{
		parallel: parallel, prefetch: prefetch, tasks: map[*task]struct{}{}, number: map[flow.Mode]int{},
		ahead: map[flow.Mode]int{flow.ModeLossless: 1}, changed: make(chan struct{}),
	}
}

func (h *hand) take(t *task) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tasks[t] = struct{}{}
	h.number[t.frame.Mode]++
	h.bytes += len(t.msg.Data())
}

// drop is called when a frame is answered or given back: nobody tells the server any more that it is worked on.
func (h *hand) drop(t *task) {
	h.change(func() {
		if _, held := h.tasks[t]; held {
			delete(h.tasks, t)
			h.number[t.frame.Mode]--
			h.bytes -= len(t.msg.Data())
		}
	})
}

// change changes what decides whether more is taken.
func (h *hand) change(how func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	how()
	close(h.changed)
	h.changed = make(chan struct{})
}

// pause has nothing taken until resume.
func (h *hand) pause() (resume func()) {
	h.change(func() { h.pauses++ })
	return func() { h.change(func() { h.pauses-- }) }
}

// aim sets how many frames of a mode it pays to have in hand beyond those in the model.
func (h *hand) aim(live, lossless int) {
	live, lossless = min(live, h.prefetch), min(lossless, h.prefetch)
	h.mu.Lock()
	same := h.ahead[flow.ModeLive] == live && h.ahead[flow.ModeLossless] == lossless
	h.mu.Unlock()
	if !same {
		h.change(func() { h.ahead[flow.ModeLive], h.ahead[flow.ModeLossless] = live, lossless })
	}
}

// live is how many live frames it takes at once.
func (h *hand) live() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.parallel + h.ahead[flow.ModeLive]
}

// wait waits until taker k of a mode may take a frame; false is returned when ctx has ended.
func (h *hand) wait(ctx context.Context, mode flow.Mode, k int) bool {
	for {
		h.mu.Lock()
		free := h.pauses == 0 && k < h.parallel+h.ahead[mode] && h.bytes < handBytes && h.number[mode] < h.parallel+h.prefetch+storeMost
		changed := h.changed
		h.mu.Unlock()
		if free {
			return ctx.Err() == nil
		}
		select {
		case <-ctx.Done():
			return false
		case <-changed:
		}
	}
}

// hold tells the server every second that what is in hand is worked on, until ctx ends.
func (h *hand) hold(ctx context.Context) {
	ticker := time.NewTicker(holdEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, t := range h.all() {
			_ = t.msg.InProgress() // unheard the frame goes to another worker too, and is answered once all the same
		}
	}
}

func (h *hand) all() []*task {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Keys(h.tasks))
}
