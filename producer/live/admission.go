package live

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/producer/live/credit"
	"github.com/spatial-flow/spatial-flow/producer/source"
)

const (
	publishPause  = 20 * time.Millisecond  // after a frame that was not stored
	callTimeout   = 2 * time.Second        // of one question to NATS
	lookEvery     = time.Second            // at the groups entry, and who is alive
	expireEvery   = 250 * time.Millisecond // look for frames that nothing was heard of
	leastDeadline = 500 * time.Millisecond // of the fuser, which waits at most twice the slowest group's time
	firstDeadline = 30 * time.Second       // before that is known
)

// Admission admits pictures of all live sources of a producer, by the selector's choice, one after the other.
type Admission struct {
	cfg  Config
	bus  *bus.Bus
	log  *slog.Logger
	own  string        // alive subject of this producer
	wake chan struct{} // holds a token when there may be something to admit

	mu       sync.Mutex
	groups   flow.Groups
	selector *credit.Selector
	sources  map[string]*Source
	hearing  hearing
	began    time.Time
}

// NewAdmission begins with the groups as they are. own is the subject of the producer's alive messages.
func NewAdmission(cfg Config, b *bus.Bus, log *slog.Logger, groups flow.Groups, own string) *Admission {
	s := &Admission{
		cfg: cfg, bus: b, log: log, own: own, wake: make(chan struct{}, 1),
		sources: map[string]*Source{}, hearing: newHearing(), began: time.Now(),
	}
	s.setGroups(groups)
	return s
}

// setGroups begins with fresh credits for the groups that are on.
func (s *Admission) setGroups(groups flow.Groups) {
	s.groups = groups
	var allowed []credit.Group
	for _, g := range groups.On(time.Now()) {
		allowed = append(allowed, credit.Group{Name: g.Name, Required: slices.Contains(s.cfg.Required, g.Name), MaxRate: s.cfg.MaxRate[g.Name]})
	}
	s.selector = credit.New(allowed)
}

// signal has run look for something to admit.
func (s *Admission) signal() {
	select {
	case s.wake <- struct{}{}:
	default: // one is enough
	}
}

func (s *Admission) join(l *Source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sources[l.spec.Name] = l
}

func (s *Admission) leave(l *Source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sources, l.spec.Name)
}

// done returns a credit.
func (s *Admission) done(group string, id flow.FrameID, done flow.Done, now time.Time) {
	s.mu.Lock()
	s.selector.Done(group, id, done, now)
	s.mu.Unlock()
	s.signal()
}

// Run admits pictures, expires frames and follows the deployment until ctx ends.
func (s *Admission) Run(ctx context.Context) error {
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
func (s *Admission) admitAll(ctx context.Context) time.Time {
	for ctx.Err() == nil {
		l, id, plan, p, next := s.choose()
		if l == nil {
			return next
		}
		if p.Broken != "" {
			continue
		}
		if !l.publish(ctx, s.currentGroups(), id, plan, p) {
			s.mu.Lock()
			s.selector.Undo(id, time.Now())
			s.mu.Unlock()
			clock.Sleep(ctx, publishPause) // NATS is away: not as fast as cameras are
		}
	}
	return time.Time{}
}

func (s *Admission) currentGroups() flow.Groups {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.groups
}

// choose takes one picture and its credits; l is nil when none may go before next. A broken picture costs no credit.
func (s *Admission) choose() (l *Source, id flow.FrameID, plan []string, p source.Picture, next time.Time) {
	l, plan, next = s.pick()
	if l == nil {
		return nil, id, nil, p, next
	}
	id, p, ok := l.box.take(func(id flow.FrameID, p source.Picture) { // which encodes it: not under the lock
		if p.Broken == "" {
			l.account.Admit(id, plan, p.Captured, time.Now())
			return
		}
		l.log.Warn("broken picture", "seq", id.Seq, "reason", p.Broken)
		l.skipped(&p, skippedBroken)
	})
	if !ok {
		return nil, id, nil, p, time.Now() // its source has ended
	}
	if p.Broken != "" {
		return l, id, nil, p, time.Time{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.selector.Admit(id, plan, time.Now()) // the credits are still there: only this goroutine takes any
	return l, id, plan, p, time.Time{}
}

func (s *Admission) pick() (l *Source, plan []string, next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var fresh []string
	for name, l := range s.sources {
		if l.box.fresh() {
			fresh = append(fresh, name)
		}
	}
	slices.Sort(fresh)
	name, plan, next, ok := s.selector.Pick(fresh, time.Now())
	if !ok {
		return nil, nil, next
	}
	return s.sources[name], plan, time.Time{}
}

// expire closes the frames whose scene was not seen in time.
func (s *Admission) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.sources {
		for range l.account.Expire(time.Now(), s.patience) {
			l.metrics.Drop(flow.DroppedExpired)
		}
	}
}

// patience is how long a frame is waited for: twice the fuser's deadline, and a second.
func (s *Admission) patience(plan []string) time.Duration {
	slowest := time.Duration(0)
	for _, name := range plan {
		trip, ok := s.selector.Slowest(name)
		if !ok {
			return 2*firstDeadline + time.Second
		}
		slowest = max(slowest, trip)
	}
	return 2*max(leastDeadline, 2*slowest) + time.Second
}

func (s *Admission) onAlive(msg *nats.Msg) {
	alive, err := flow.ParseAlive(msg.Data)
	if err != nil {
		return // the gateway counts it
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hearing.hear(msg.Subject, alive, time.Now())
}

// look tells the selector who is alive, and follows the groups entry.
func (s *Admission) look(ctx context.Context) {
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
			s.selector.Share(g.Name, slots[g.Name], mine, all, now)
		}
	}
}
