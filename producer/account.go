package producer

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
)

// ledger keeps one source's account. It holds at most a window of open frames; what it is told of others, or of
// the same frame again, changes nothing. Its methods may be called from many goroutines and never wait for I/O.
type ledger struct {
	mu      sync.Mutex
	open    map[uint64]*openFrame // admitted, scene not yet seen; by seq
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
}

func newLedger() *ledger {
	return &ledger{open: map[uint64]*openFrame{}, closed: make(chan struct{}, 1), suspect: make(chan struct{}, 1)}
}

// admit opens a frame: before it is published, or a fast done would find nothing to close.
func (l *ledger) admit(seq uint64, captured, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first.IsZero() {
		l.first = now
	}
	l.open[seq] = &openFrame{captured: captured, heard: now}
	l.account.Captured++
	l.account.Admitted++
	l.account.InFlight = uint64(len(l.open))
}

// done closes a frame whose scene was just stored, and asks for a look at every open frame before it: scenes are
// stored in frame order, so their done got lost. It returns false when the frame was not open.
func (l *ledger) done(seq uint64, outcome flow.Outcome, now time.Time) (age time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	frame := l.open[seq]
	if frame != nil {
		age = now.Sub(frame.captured)
		l.latency.add(age)
		l.closeFrame(seq, outcome, now)
	}
	for earlier, f := range l.open {
		if earlier < seq {
			f.suspect = true
			signal(l.suspect)
		}
	}
	return age, frame != nil
}

// found closes a frame whose scene was looked up. It returns false when the frame was not open.
func (l *ledger) found(seq uint64, outcome flow.Outcome, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[seq] == nil {
		return false
	}
	l.closeFrame(seq, outcome, now)
	return true
}

func (l *ledger) closeFrame(seq uint64, outcome flow.Outcome, now time.Time) {
	delete(l.open, seq)
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
func (l *ledger) due(now time.Time, silence time.Duration) []uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var seqs []uint64
	for seq, f := range l.open {
		if f.suspect || now.Sub(f.heard) >= silence {
			f.suspect, f.heard = false, now
			seqs = append(seqs, seq)
		}
	}
	slices.Sort(seqs)
	return seqs
}

func (l *ledger) isOpen(seq uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open[seq] != nil
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
