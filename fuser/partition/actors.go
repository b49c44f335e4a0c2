package partition

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/fuser/camera"
	"github.com/spatial-flow/spatial-flow/fuser/delivery"
	"github.com/spatial-flow/spatial-flow/fuser/session"
)

const (
	mailboxSize = 256             // results on their way to a source; a lossless one has 32 frames open
	idleFor     = time.Minute     // a source that has nothing open is forgotten then
	fullWait    = time.Second     // before a result that found no room comes again
	tidyEvery   = 5 * time.Second // between two looks for sources to forget
)

// name says which actor has a result: a lossless session, or a camera, which goes on with another session.
type name struct {
	mode            flow.Mode
	source, session string
}

// actor is one session or camera, and its goroutine.
type actor struct {
	mailbox chan *delivery.Delivery
	changed chan struct{} // groups changed
	open    atomic.Int64  // results that it was handed and has not ended
	heard   time.Time
}

// actors are the sessions and cameras of a partition, each with a goroutine of its own. Their methods belong to one
// goroutine: it alone hands results out, so that one with nothing open stays so while it is forgotten.
type actors struct {
	most     int
	sessions session.Shared
	cameras  camera.Shared
	known    map[name]*actor
	running  sync.WaitGroup
}

// hand gives a result to its source. False is returned when there is no room: for one more source, or in the mailbox
// of this one, or, when full, for more than what a source looks at next.
func (a *actors) hand(ctx context.Context, d *delivery.Delivery, full bool) bool {
	n := name{mode: d.Result.Mode, source: d.Result.Source}
	if n.mode == flow.ModeLossless {
		n.session = d.Result.Session
	}
	to := a.known[n]
	if to == nil {
		if len(a.known) >= a.most && !a.forgetOne() {
			return false
		}
		to = a.start(ctx, n)
	}
	to.heard = d.Received
	if full && len(to.mailbox) > 0 || len(to.mailbox) == cap(to.mailbox) {
		return false
	}
	d.HandTo(&to.open)
	to.mailbox <- d // nobody else fills it
	return true
}

func (a *actors) start(ctx context.Context, n name) *actor {
	to := &actor{mailbox: make(chan *delivery.Delivery, mailboxSize), changed: make(chan struct{}, 1)}
	a.known[n] = to
	if n.mode == flow.ModeLive {
		c := camera.New(&a.cameras, n.source)
		a.running.Go(func() { c.Run(ctx, to.mailbox, to.changed) })
		return to
	}
	s := session.New(&a.sessions, session.ID{Source: n.source, Name: n.session})
	a.running.Go(func() { s.Run(ctx, to.mailbox, to.changed) })
	return to
}

// tell says to all that groups changed.
func (a *actors) tell() {
	for _, to := range a.known {
		select {
		case to.changed <- struct{}{}:
		default: // it was told, and has not looked yet
		}
	}
}

// tidy forgets the sources that were silent for long and have nothing open.
func (a *actors) tidy(now time.Time) {
	for n, to := range a.known {
		if to.open.Load() == 0 && now.Sub(to.heard) >= idleFor {
			a.forget(n)
		}
	}
}

// forgetOne forgets the source that was silent for longest and has nothing open; false when all have.
func (a *actors) forgetOne() bool {
	var oldest *name
	for n, to := range a.known {
		if to.open.Load() == 0 && (oldest == nil || to.heard.Before(a.known[*oldest].heard)) {
			oldest = &n
		}
	}
	if oldest == nil {
		return false
	}
	a.forget(*oldest)
	return true
}

func (a *actors) forget(n name) {
	close(a.known[n].mailbox)
	delete(a.known, n)
}
