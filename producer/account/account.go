// Package account keeps the account of each source, and shows it: on a board, in alive messages and in metrics.
package account

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
)

// Account is one source's: which frames are under way, and what became of the others. What it is told of other sources, or
// of the same frame again, changes nothing. Its methods may be called from many goroutines and never wait for I/O.
type Account struct {
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
	heard    time.Time     // admitted, or looked up
	silence  time.Duration // after which it is looked up again; 0: it never was
	suspect  bool          // a later frame is done
	plan     []string
}

// New is an account of nothing.
func New() *Account {
	return &Account{open: map[flow.FrameID]*openFrame{}, closed: make(chan struct{}, 1), suspect: make(chan struct{}, 1)}
}

// Admit opens a frame: before it is published, or a fast done would find nothing to close.
func (a *Account) Admit(id flow.FrameID, plan []string, captured, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.first.IsZero() {
		a.first = now
	}
	a.open[id] = &openFrame{captured: captured, heard: now, plan: plan}
	a.account.Captured++
	a.account.Admitted++
	a.account.InFlight = uint64(len(a.open))
}

// Skip counts a picture that is not admitted.
func (a *Account) Skip(reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.account.Captured++
	count(&a.account.Skipped, reason)
}

// Drop closes a frame that will have no scene. It returns false when the frame was not open.
func (a *Account) Drop(id flow.FrameID, reason string, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open[id] == nil {
		return false
	}
	a.dropFrame(id, reason, now)
	return true
}

// Expire drops the frames whose scene was not seen for as long as their plan may take, and lists them.
func (a *Account) Expire(now time.Time, patience func(plan []string) time.Duration) (expired []flow.FrameID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, f := range a.open {
		if now.Sub(f.heard) >= patience(f.plan) {
			a.dropFrame(id, flow.DroppedExpired, now)
			expired = append(expired, id)
		}
	}
	return expired
}

// LeftToOther is why frames are dropped from the account that another producer carries on.
const LeftToOther = "left_to_other"

// Leave drops what is under way when another producer goes on with the source: it has the frames in its own account. It returns how many that
// were.
func (a *Account) Leave(now time.Time) (left int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id := range a.open {
		a.dropFrame(id, LeftToOther, now)
		left++
	}
	return left
}

func (a *Account) dropFrame(id flow.FrameID, reason string, now time.Time) {
	delete(a.open, id)
	count(&a.account.Dropped, reason)
	a.account.InFlight = uint64(len(a.open))
	a.last = now
	signal(a.closed)
}

func count(counts *map[string]uint64, reason string) {
	if *counts == nil {
		*counts = map[string]uint64{}
	}
	(*counts)[reason]++
}

// Done closes a frame whose scene was just stored, and asks for a look at every open frame of its session before it:
// lossless scenes are stored in frame order, so their done got lost. It returns false when the frame was not open.
func (a *Account) Done(id flow.FrameID, outcome flow.Outcome, now time.Time) (age time.Duration, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	frame := a.open[id]
	if frame != nil {
		age = now.Sub(frame.captured)
		a.latency.add(age)
		a.closeFrame(id, outcome, now)
	}
	for earlier, f := range a.open {
		if earlier.Session == id.Session && earlier.Seq < id.Seq {
			f.suspect = true
			signal(a.suspect)
		}
	}
	return age, frame != nil
}

// Found closes a frame whose scene was looked up. It returns false when the frame was not open.
func (a *Account) Found(id flow.FrameID, outcome flow.Outcome, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open[id] == nil {
		return false
	}
	a.closeFrame(id, outcome, now)
	return true
}

func (a *Account) closeFrame(id flow.FrameID, outcome flow.Outcome, now time.Time) {
	delete(a.open, id)
	switch outcome {
	case flow.OutcomeComplete:
		a.account.Complete++
	case flow.OutcomePartial:
		a.account.Partial++
	default:
		a.account.Error++
	}
	a.account.InFlight = uint64(len(a.open))
	a.last = now
	signal(a.closed)
}

// mostSilence bounds how much longer each time a frame that is looked up again and again is left alone.
const mostSilence = time.Minute

// Due lists, in order, the open frames to look up: those before a done one, and those silent for silence, or, when they were
// looked up before, for twice as long as the last time, at most a minute.
func (a *Account) Due(now time.Time, silence time.Duration) []flow.FrameID {
	a.mu.Lock()
	defer a.mu.Unlock()
	var ids []flow.FrameID
	for id, f := range a.open {
		silent := now.Sub(f.heard) >= max(silence, f.silence)
		if !f.suspect && !silent {
			continue
		}
		if silent {
			f.silence = min(2*max(silence, f.silence), max(silence, mostSilence))
		}
		f.suspect, f.heard = false, now
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b flow.FrameID) int { return cmp.Compare(a.Seq, b.Seq) })
	return ids
}

func (a *Account) IsOpen(id flow.FrameID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.open[id] != nil
}

// Suspect holds a token when a frame should be looked up at once.
func (a *Account) Suspect() <-chan struct{} { return a.suspect }

// Wait blocks until fewer than limit frames are open; false is returned when ctx ends first. One goroutine
// waits at a time.
func (a *Account) Wait(ctx context.Context, limit int) bool {
	for {
		a.mu.Lock()
		n := len(a.open)
		a.mu.Unlock()
		if n < limit {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-a.closed:
		}
	}
}

// Snapshot is the account as it stands.
func (a *Account) Snapshot() flow.Account {
	a.mu.Lock()
	defer a.mu.Unlock()
	account := a.account
	account.Skipped, account.Dropped = maps.Clone(account.Skipped), maps.Clone(account.Dropped)
	return account
}

// speed fills in what the summary says about time.
func (a *Account) speed(s *Summary) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.P50, s.P95, s.P99 = a.latency.quantile(.50), a.latency.quantile(.95), a.latency.quantile(.99)
	if a.last.After(a.first) {
		s.Elapsed = a.last.Sub(a.first)
		s.Rate = float64(a.account.Admitted-a.account.InFlight) / s.Elapsed.Seconds()
	}
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is enough
	}
}
