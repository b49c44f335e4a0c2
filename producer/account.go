package producer

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
)

// ledger keeps one source's account; what it is told of others, or of
// the same frame again, changes nothing. Its methods may be called from many goroutines and never wait for I/O.
type ledger struct {
	mu      sync.Mutex
	open    map[flow.FrameID]*openFrame // admitted, scene not yet seen
	account flow.Account
	latency latency
	first   time.Time // admission
	last    time.Time // end of a frame

	closed  chan struct{} // holds a token after a frame left the open set
	suspect chan struct{} // holds a token when a frame should be looked up at once
}

type openFrame struct {
	captured time.Time
	heard    time.Time // admitted, or looked up
	suspect  bool      // a later frame is done
	plan     []string
}

func newLedger() *ledger {
	return &ledger{open: map[flow.FrameID]*openFrame{}, closed: make(chan struct{}, 1), suspect: make(chan struct{}, 1)}
}

// admit opens a frame: before it is published, or a fast done would find nothing to close.
func (l *ledger) admit(id flow.FrameID, plan []string, captured, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first.IsZero() {
		l.first = now
	}
	l.open[id] = &openFrame{captured: captured, heard: now, plan: plan}
	l.account.Captured++
	l.account.Admitted++
	l.account.InFlight = uint64(len(l.open))
}

// skip counts a picture that is not admitted.
func (l *ledger) skip(reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.account.Captured++
	count(&l.account.Skipped, reason)
}

// drop closes a frame that will have no scene. It returns false when the frame was not open.
func (l *ledger) drop(id flow.FrameID, reason string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[id] == nil {
		return false
	}
	l.dropFrame(id, reason, now)
	return true
}

// expire drops the frames whose scene was not seen for as long as their plan may take, and lists them.
func (l *ledger) expire(now time.Time, patience func(plan []string) time.Duration) (expired []flow.FrameID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, f := range l.open {
		if now.Sub(f.heard) >= patience(f.plan) {
			l.dropFrame(id, flow.DroppedExpired, now)
			expired = append(expired, id)
		}
	}
	return expired
}

func (l *ledger) dropFrame(id flow.FrameID, reason string, now time.Time) {
	delete(l.open, id)
	count(&l.account.Dropped, reason)
	l.account.InFlight = uint64(len(l.open))
	l.last = now
	signal(l.closed)
}

func count(counts *map[string]uint64, reason string) {
	if *counts == nil {
		*counts = map[string]uint64{}
	}
	(*counts)[reason]++
}

// done closes a frame whose scene was just stored, and asks for a look at every open frame of its session before it:
// lossless scenes are stored in frame order, so their done got lost. It returns false when the frame was not open.
func (l *ledger) done(id flow.FrameID, outcome flow.Outcome, now time.Time) (age time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	frame := l.open[id]
	if frame != nil {
		age = now.Sub(frame.captured)
		l.latency.add(age)
		l.closeFrame(id, outcome, now)
	}
	for earlier, f := range l.open {
		if earlier.Session == id.Session && earlier.Seq < id.Seq {
			f.suspect = true
			signal(l.suspect)
		}
	}
	return age, frame != nil
}

// found closes a frame whose scene was looked up. It returns false when the frame was not open.
func (l *ledger) found(id flow.FrameID, outcome flow.Outcome, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[id] == nil {
		return false
	}
	l.closeFrame(id, outcome, now)
	return true
}

func (l *ledger) closeFrame(id flow.FrameID, outcome flow.Outcome, now time.Time) {
	delete(l.open, id)
	switch outcome {
	case flow.OutcomeComplete:
		l.account.Complete++
	case flow.OutcomePartial:
		l.account.Partial++
	default:
		l.account.Error++
	}
	l.account.InFlight = uint64(len(l.open))
	l.last = now
	signal(l.closed)
}

// due lists, in order, the open frames to look up: those before a done one, and those silent for silence. It
// gives each of them another silence.
func (l *ledger) due(now time.Time, silence time.Duration) []flow.FrameID {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ids []flow.FrameID
	for id, f := range l.open {
		if f.suspect || now.Sub(f.heard) >= silence {
			f.suspect, f.heard = false, now
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b flow.FrameID) int { return cmp.Compare(a.Seq, b.Seq) })
	return ids
}

func (l *ledger) isOpen(id flow.FrameID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open[id] != nil
}

// wait blocks until fewer than limit frames are open; false is returned when ctx ends first. One goroutine
// waits at a time.
func (l *ledger) wait(ctx context.Context, limit int) bool {
	for {
		l.mu.Lock()
		n := len(l.open)
		l.mu.Unlock()
		if n < limit {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-l.closed:
		}
	}
}

// snapshot is the account as it stands.
func (l *ledger) snapshot() flow.Account {
	l.mu.Lock()
	defer l.mu.Unlock()
	account := l.account
	account.Skipped, account.Dropped = maps.Clone(account.Skipped), maps.Clone(account.Dropped)
	return account
}

// speed fills in what the summary says about time.
func (l *ledger) speed(s *Summary) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.P50, s.P95, s.P99 = l.latency.quantile(.50), l.latency.quantile(.95), l.latency.quantile(.99)
	if l.last.After(l.first) {
		s.Elapsed = l.last.Sub(l.first)
		s.Rate = float64(l.account.Admitted-l.account.InFlight) / s.Elapsed.Seconds()
	}
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is enough
	}
}
