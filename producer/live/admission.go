package live

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/producer/fleet"
	"github.com/spatial-flow/spatial-flow/producer/live/credit"
)

const (
	lookEvery   = time.Second            // at who is alive, and at groups whose moment has come
	expireEvery = 250 * time.Millisecond // look for frames that nothing was heard of
)

// Admission decides, for all live sources of a producer, whose picture goes to which groups now. What is admitted its
// source encodes and publishes.
type Admission struct {
	cfg      Config
	log      *slog.Logger
	deployed *bus.Deployed
	fleet    *fleet.Fleet
	wake     chan struct{} // holds a token when there may be something to admit

	mu       sync.Mutex
	now      flow.Deployment
	on       flow.Groups // of it
	selector *credit.Selector
	sources  map[string]*Source
}

// grant is a picture that is admitted.
type grant struct {
	*waiting
	plan       []string
	deployment flow.Deployment // that the plan was made in
}

// waitingForGroup is why nothing is admitted while all groups are off, or still to come.
const waitingForGroup = "waiting for a worker group"

// NewAdmission begins with the deployment as it is.
func NewAdmission(cfg Config, log *slog.Logger, deployed *bus.Deployed, fleet *fleet.Fleet) *Admission {
	a := &Admission{
		cfg: cfg, log: log, deployed: deployed, fleet: fleet, wake: make(chan struct{}, 1),
		selector: credit.New(), sources: map[string]*Source{},
	}
	a.now, _ = deployed.Now()
	a.setGroups(time.Now())
	return a
}

// setGroups lets the groups that are on take part; those that were on before keep their credits.
func (a *Admission) setGroups(now time.Time) {
	on := a.now.Groups.On(now)
	if slices.Equal(on, a.on) {
		return
	}
	var groups []credit.Group
	for _, g := range on {
		groups = append(groups, credit.Group{
			Name: g.Name, Follows: !g.Required(), Required: slices.Contains(a.cfg.Required, g.Name), MaxRate: a.cfg.MaxRate[g.Name],
		})
	}
	before := a.on
	a.on = on
	a.selector.SetGroups(groups)
	for _, l := range a.sources {
		switch {
		case len(on) == 0:
			l.row.Waiting(waitingForGroup)
		case len(before) == 0:
			l.row.Waiting("")
		}
	}
}

// signal has run look for something to admit.
func (a *Admission) signal() {
	select {
	case a.wake <- struct{}{}:
	default: // one is enough
	}
}

func (a *Admission) join(l *Source) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sources[l.spec.Name] = l
	if len(a.on) == 0 {
		l.row.Waiting(waitingForGroup)
	}
}

// close admits no more pictures of the source, and ends its grants.
func (a *Admission) close(l *Source) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l.closed = true
	close(l.grants)
}

func (a *Admission) leave(l *Source) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.sources, l.spec.Name)
	a.selector.Forget(l.spec.Name)
}

// done returns a credit.
func (a *Admission) done(group string, id flow.FrameID, done flow.Done, now time.Time) {
	a.mu.Lock()
	a.selector.Done(group, id, done, now)
	a.mu.Unlock()
	a.signal()
}

// carried says that a source is through with a grant; undo is true when no frame came of it.
func (a *Admission) carried(l *Source, id flow.FrameID, undo bool) {
	a.mu.Lock()
	l.busy = false
	if undo {
		a.selector.Undo(id, time.Now())
	}
	a.mu.Unlock()
	a.signal()
}

// Run admits pictures, expires frames and follows the deployment until ctx ends.
func (a *Admission) Run(ctx context.Context) {
	expire, look := time.NewTicker(expireEvery), time.NewTicker(lookEvery)
	defer expire.Stop()
	defer look.Stop()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	_, changed := a.deployed.Now()
	for {
		if next := a.admitAll(); !next.IsZero() {
			timer.Reset(time.Until(next))
		}
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
		case <-timer.C:
		case <-expire.C:
			a.expire()
		case <-look.C:
			a.look(time.Now())
		case <-changed:
			_, changed = a.deployed.Now()
			a.look(time.Now())
		}
	}
}

// admitAll admits until nothing may go, and returns when to try again; zero: when something happens.
func (a *Admission) admitAll() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		now := time.Now()
		name, plan, next, ok := a.selector.Pick(a.fresh, now)
		if !ok {
			return next
		}
		l := a.sources[name]
		newest := l.box.empty(0)
		if newest == nil {
			continue // it was emptied meanwhile
		}
		a.selector.Admit(newest.id, plan, now)
		l.busy = true
		l.grants <- grant{newest, plan, a.now} // there is room: the source is not busy
	}
}

// fresh lists the sources with a picture that may be admitted, under a.mu.
func (a *Admission) fresh() (names []string) {
	for name, l := range a.sources {
		if !l.busy && !l.closed && l.box.full() && l.held() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// expire closes the frames whose scene was not seen in time.
func (a *Admission) expire() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range a.sources {
		for range l.account.Expire(time.Now(), a.patience) {
			l.metrics.Drop(flow.DroppedExpired)
		}
	}
}

// patience is how long a frame is waited for: twice the fuser's deadline, and a second.
func (a *Admission) patience(plan []string) time.Duration {
	slowest := time.Duration(0)
	for _, name := range plan {
		trip, ok := a.selector.Slowest(name)
		if !ok {
			return 2*clock.FirstDeadline + time.Second
		}
		slowest = max(slowest, trip)
	}
	return 2*max(clock.LeastDeadline, clock.DeadlineTimes*slowest) + time.Second
}

// look follows the deployment, and tells the selector who is alive.
func (a *Admission) look(now time.Time) {
	heard := a.fleet.Heard(now)
	mine, all := a.fleet.LiveSources()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now, _ = a.deployed.Now()
	a.setGroups(now)
	for _, g := range a.on {
		if slots := a.fleet.Slots(g.Name); slots > 0 || heard { // before that nobody can have been heard
			a.selector.Share(g.Name, slots, mine, all, now)
		}
	}
}
