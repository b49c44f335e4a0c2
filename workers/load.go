package workers

import (
	"slices"
	"sync"
	"time"
)

// load is what a worker did since it was last asked.
type load struct {
	mu     sync.Mutex
	asked  time.Time
	frames int
	wait   time.Duration
	work   time.Duration     // of the slots: the goroutines that run the model
	inHand map[int]time.Time // since when a slot is at work
}

func newLoad(now time.Time) *load { return &load{asked: now, inHand: map[int]time.Time{}} }

// begin notes that a slot works on a frame.
func (l *load) begin(slot int, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inHand[slot] = now
}

// end notes that it does no more.
func (l *load) end(slot int, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.work += now.Sub(later(l.inHand[slot], l.asked))
	delete(l.inHand, slot)
}

// answered notes a frame that got its answer, after it had waited.
func (l *load) answered(wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.frames++
	l.wait += wait
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

// pace is how long the stages took of late.
type pace struct {
	mu                                 sync.Mutex
	prepares, infers, answers, allWork lately
}

// lately are times of the last frames.
type lately []time.Duration

const remembered = 15 // frames whose median says how long one takes

func (l *lately) add(took time.Duration) {
	if *l = append(*l, took); len(*l) > remembered {
		*l = (*l)[1:]
	}
}

// median is 0 while there is nothing to tell it by.
func (l lately) median() time.Duration {
	if len(l) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(l))[len(l)/2]
}

func (p *pace) prepared(took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.prepares.add(took)
}

func (p *pace) inferred(took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.infers.add(took)
}

// answered notes how long the last stage took, and all of them.
func (p *pace) answered(took, work time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers.add(took)
	p.allWork.add(work)
}

func (p *pace) of(l *lately) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return l.median()
}

func (p *pace) prepare() time.Duration { return p.of(&p.prepares) }
func (p *pace) infer() time.Duration   { return p.of(&p.infers) }
func (p *pace) answer() time.Duration  { return p.of(&p.answers) }
func (p *pace) work() time.Duration    { return p.of(&p.allWork) }
