package workers

import (
	"sync"
	"time"
)

// load is what the slots of a worker did since it was last asked.
type load struct {
	mu     sync.Mutex
	asked  time.Time
	frames int
	wait   time.Duration
	work   time.Duration
	inHand map[*worker]time.Time // since when
}

func newLoad(now time.Time) *load { return &load{asked: now, inHand: map[*worker]time.Time{}} }

// begin notes that a slot works on a frame.
func (l *load) begin(w *worker, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inHand[w] = now
}

// end notes that it does no more; answered says whether that was a frame that got its answer, after it had waited.
func (l *load) end(w *worker, now time.Time, answered bool, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.work += now.Sub(later(l.inHand[w], l.asked))
	delete(l.inHand, w)
	if answered {
		l.frames++
		l.wait += wait
	}
}

// since is the frames per second, their mean wait in milliseconds, and the share of so many slots that was at work, 0 to 1,
// since it was asked before. A frame in hand counts as far as it has come: one may take longer than a second.
func (l *load) since(now time.Time, slots int) (rate, waitMS, busy float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, began := range l.inHand {
		l.work += now.Sub(later(began, l.asked))
	}
	if elapsed := now.Sub(l.asked); elapsed > 0 {
		rate = float64(l.frames) / elapsed.Seconds()
		busy = min(1, float64(l.work)/float64(elapsed)/float64(slots))
	}
	if l.frames > 0 {
		waitMS = float64(l.wait) / float64(l.frames) / 1e6
	}
	l.asked, l.frames, l.wait, l.work = now, 0, 0, 0
	return rate, waitMS, busy
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
