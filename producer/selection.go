package producer

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	flowclock "github.com/spatial-flow/spatial-flow/flow/clock"
)

const (
	lookEvery     = time.Second            // at the groups entry, and who is alive
	expireEvery   = 250 * time.Millisecond // look for frames that nothing was heard of
	leastDeadline = 500 * time.Millisecond // of the fuser, which waits at most twice the slowest group's time
	firstDeadline = 30 * time.Second       // before that is known
)

// selection admits pictures of all live sources of a producer, by the selector's choice, one after the other.
type selection struct {
	cfg  Config
	bus  *bus.Bus
	log  *slog.Logger
	own  string        // alive subject of this producer
	wake chan struct{} // holds a token when there may be something to admit

	mu       sync.Mutex
	groups   flow.Groups
	selector *selector
	sources  map[string]*live
	hearing  hearing
	began    time.Time
}

func newSelection(cfg Config, b *bus.Bus, log *slog.Logger, groups flow.Groups) *selection {
	s := &selection{
		cfg: cfg, bus: b, log: log, wake: make(chan struct{}, 1),
		sources: map[string]*live{}, hearing: newHearing(), began: time.Now(),
	}
	s.setGroups(groups)
	return s
}

// setGroups begins with fresh credits for the groups that are on.
func (s *selection) setGroups(groups flow.Groups) {
	s.groups = groups
	var allowed []selectorGroup
	for _, g := range groups.On(time.Now()) {
		allowed = append(allowed, selectorGroup{name: g.Name, required: slices.Contains(s.cfg.Required, g.Name), maxRate: s.cfg.MaxRate[g.Name]})
	}
	s.selector = newSelector(allowed)
}

func (s *selection) signal() { signal(s.wake) }

func (s *selection) join(l *live) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sources[l.spec.name] = l
}

func (s *selection) leave(l *live) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sources, l.spec.name)
}

// done returns a credit.
func (s *selection) done(group string, id flow.FrameID, done flow.Done, now time.Time) {
	s.mu.Lock()
	s.selector.done(group, id, done, now)
	s.mu.Unlock()
	s.signal()
}

// run admits pictures, expires frames and follows the deployment until ctx ends.
func (s *selection) run(ctx context.Context) error {
	alive, err := s.bus.Conn().Subscribe(flow.AliveSubject("*", "*"), s.onAlive)
	if err != nil {
		return err
	}
	defer func() {
		if err := alive.Unsubscribe(); err != nil {
			s.log.Debug("unsubscribe", "error", err) // the connection is closed, and the subscription with it
		}
	}()
	expire, look := time.NewTicker(expireEvery), time.NewTicker(lookEvery)
	defer expire.Stop()
	defer look.Stop()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if next := s.admitAll(ctx); !next.IsZero() {
			timer.Reset(time.Until(next))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-timer.C:
		case <-expire.C:
			s.expire()
		case <-look.C:
			s.look(ctx)
		}
	}
}

// admitAll admits until nothing may go, and returns when to try again; zero: when something happens.
func (s *selection) admitAll(ctx context.Context) time.Time {
	for ctx.Err() == nil {
		l, id, plan, p, next := s.choose()
		if l == nil {
			return next
		}
		if p.broken != "" {
			continue
		}
		if !l.publish(ctx, s.currentGroups(), id, plan, p) {
			s.mu.Lock()
			s.selector.undo(id, time.Now())
			s.mu.Unlock()
			flowclock.Sleep(ctx, backoffLeast) // NATS is away: not as fast as cameras are
		}
	}
	return time.Time{}
}

func (s *selection) currentGroups() flow.Groups {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.groups
}

// choose takes one picture and its credits; l is nil when none may go before next. A broken picture costs no credit.
func (s *selection) choose() (l *live, id flow.FrameID, plan []string, p picture, next time.Time) {
	l, plan, next = s.pick()
	if l == nil {
		return nil, id, nil, p, next
	}
	id, p, ok := l.box.take(func(id flow.FrameID, p picture) { // which encodes it: not under the lock
		if p.broken == "" {
			l.ledger.admit(id, plan, p.captured, time.Now())
			return
		}
		l.log.Warn("broken picture", "seq", id.Seq, "reason", p.broken)
		l.skipped(&p, skippedBroken)
	})
	if !ok {
		return nil, id, nil, p, time.Now() // its source has ended
	}
	if p.broken != "" {
		return l, id, nil, p, time.Time{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.selector.admit(id, plan, time.Now()) // the credits are still there: only this goroutine takes any
	return l, id, plan, p, time.Time{}
}

func (s *selection) pick() (l *live, plan []string, next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var fresh []string
	for name, source := range s.sources {
		if source.box.fresh() {
			fresh = append(fresh, name)
		}
	}
	slices.Sort(fresh)
	name, plan, next, ok := s.selector.pick(fresh, time.Now())
	if !ok {
		return nil, nil, next
	}
	return s.sources[name], plan, time.Time{}
}

// expire closes the frames whose scene was not seen in time.
func (s *selection) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.sources {
		for range l.ledger.expire(time.Now(), s.patience) {
			l.metrics.drop(flow.DroppedExpired)
		}
	}
}

// patience is how long a frame is waited for: twice the fuser's deadline, and a second.
func (s *selection) patience(plan []string) time.Duration {
	slowest := time.Duration(0)
	for _, name := range plan {
		g := s.selector.group(name)
		if g == nil || len(g.trips) == 0 {
			return 2*firstDeadline + time.Second
		}
		slowest = max(slowest, slices.Max(g.trips))
	}
	return 2*max(leastDeadline, 2*slowest) + time.Second
}

func (s *selection) onAlive(msg *nats.Msg) {
	alive, err := flow.ParseAlive(msg.Data)
	if err != nil {
		return // the gateway counts it
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hearing.hear(msg.Subject, alive, time.Now())
}

// look tells the selector who is alive, and follows the groups entry.
func (s *selection) look(ctx context.Context) {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	groups, err := s.bus.Groups(call)
	cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && !slices.Equal(groups, s.groups) && len(groups.On(time.Now())) > 0 {
		s.log.Info("groups changed", "groups", string(groups.Encode()))
		s.setGroups(groups)
	}
	now := time.Now()
	s.hearing.forget(now)
	slots := s.hearing.slots()
	mine, all := s.hearing.liveSources(s.own, now)
	for _, g := range s.groups.On(time.Now()) {
		if slots[g.Name] > 0 || now.Sub(s.began) > aliveFor { // before that nobody can have been heard
			s.selector.follow(g.Name, slots[g.Name], mine, all, now)
		}
	}
}
