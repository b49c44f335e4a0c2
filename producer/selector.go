package producer

import (
	"math"
	"slices"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
)

const (
	probeEvery     = time.Second     // a silent group gets one frame in this time
	creditTimeout  = 5 * time.Second // least time after which a credit returns by itself
	creditPatience = 5               // times the longest wait and work that was seen lately
	remembered     = 16              // answers that "lately" is
	restGain       = 0.3             // how fast a group's rest follows its queue
)

// selector decides which frame of which live source goes to which groups, so that nothing queues anywhere: every group
// has credits, one for each frame that it may have under way. The first group that is not silent leads: a frame is
// admitted only when the lead has a credit, and every other group that has one at that moment joins the plan, so the
// others' frames are always among the lead's. It is pure: it knows no NATS and no clock.
type selector struct {
	groups []*groupCredits // in the order of the groups entry
	served map[string][]time.Time
	turn   map[string]uint64 // when a source was taken last, counted in frames
	taken  uint64
}

// groupCredits is one group as the selector sees it.
type groupCredits struct {
	name     string
	required bool          // a frame is admitted only when this group takes it too, unless it is silent
	every    time.Duration // between two frames of a group whose rate is capped; 0: no cap
	credits  int           // that it should have
	free     []time.Time   // credits that are here: when each has rested
	out      map[flow.FrameID]time.Time
	rest     time.Duration
	lately   []time.Duration // wait and work of the last answers
	silent   bool
	expired  int       // credits since the last answer that returned by themselves
	last     time.Time // of its frames
}

// selectorGroup is what a group is allowed in live mode.
type selectorGroup struct {
	name     string
	required bool
	maxRate  float64 // frames per second; 0: no cap
}

func newSelector(groups []selectorGroup) *selector {
	s := &selector{served: map[string][]time.Time{}, turn: map[string]uint64{}}
	for _, g := range groups {
		c := &groupCredits{name: g.name, required: g.required, credits: 1, free: make([]time.Time, 1), out: map[flow.FrameID]time.Time{}}
		if g.maxRate > 0 {
			c.every = time.Duration(float64(time.Second) / g.maxRate)
		}
		s.groups = append(s.groups, c)
	}
	return s
}

// follow sets what is known of the deployment: a group's workers share its credits among all producers, one more than
// there are workers, so that none waits while a credit travels. Without workers the group is silent.
func (s *selector) follow(group string, workers, producers int, now time.Time) {
	g := s.group(group)
	if g == nil {
		return
	}
	if workers == 0 {
		g.silent = true
	}
	g.credits = max(1, int(math.Ceil(float64(workers+1)/float64(max(producers, 1)))))
	for len(g.free)+len(g.out) < g.credits {
		g.free = append(g.free, now)
	}
	for len(g.free)+len(g.out) > g.credits && len(g.free) > 0 {
		g.free = g.free[1:] // the others go as they return
	}
}

// pick chooses, among the sources that have a fresh frame, whose frame goes to which groups now. ok is false when none
// may go yet: wake is when to ask again, unless a done comes before; zero: not before one comes.
func (s *selector) pick(fresh []string, now time.Time) (source string, plan []string, wake time.Time, ok bool) {
	for _, g := range s.groups {
		g.expire(now)
	}
	lead := slices.IndexFunc(s.groups, func(g *groupCredits) bool { return !g.silent })
	scarcest := -1
	for i, g := range s.groups {
		ready, at := g.ready(now)
		if ready {
			plan, scarcest = append(plan, g.name), i
			continue
		}
		if i == lead || lead < 0 || g.required && !g.silent {
			wake = earlier(wake, at)
		}
	}
	blocked := lead >= 0 && !slices.Contains(plan, s.groups[lead].name) ||
		slices.ContainsFunc(s.groups, func(g *groupCredits) bool {
			return g.required && !g.silent && !slices.Contains(plan, g.name)
		})
	if len(plan) == 0 || blocked || len(fresh) == 0 {
		return "", nil, wake, false
	}
	return s.longestUnserved(fresh, scarcest), plan, time.Time{}, true
}

// longestUnserved is the source whose frames the group had longest ago; of equals, the one taken longest ago.
func (s *selector) longestUnserved(fresh []string, group int) string {
	return slices.MinFunc(fresh, func(a, b string) int {
		if c := s.servedAt(a, group).Compare(s.servedAt(b, group)); c != 0 {
			return c
		}
		switch ta, tb := s.turn[a], s.turn[b]; {
		case ta < tb:
			return -1
		case ta > tb:
			return 1
		}
		return 0
	})
}

func (s *selector) servedAt(source string, group int) time.Time {
	if served := s.served[source]; served != nil {
		return served[group]
	}
	return time.Time{}
}

// admit takes a credit of every group of the plan for the frame.
func (s *selector) admit(id flow.FrameID, plan []string, now time.Time) {
	served := s.served[id.Source]
	if served == nil {
		served = make([]time.Time, len(s.groups))
		s.served[id.Source] = served
	}
	s.taken++
	s.turn[id.Source] = s.taken
	for i, g := range s.groups {
		if !slices.Contains(plan, g.name) {
			continue
		}
		served[i], g.last = now, now
		slices.SortFunc(g.free, time.Time.Compare)
		g.free, g.out[id] = g.free[1:], now
	}
}

// done returns the credit of a frame that a group has finished, after it waited and was worked on for so long. It
// rests until the queue that it met is gone. A done that comes after its credit has expired returns nothing.
func (s *selector) done(group string, id flow.FrameID, wait, work time.Duration, now time.Time) {
	g := s.group(group)
	if g == nil {
		return
	}
	g.silent, g.expired = false, 0
	if _, out := g.out[id]; !out {
		return
	}
	delete(g.out, id)
	if g.lately = append(g.lately, wait+work); len(g.lately) > remembered {
		g.lately = g.lately[1:]
	}
	g.rest = max(0, g.rest+time.Duration(restGain*float64(wait-work/2)/float64(g.credits)))
	g.giveBack(now.Add(g.rest))
}

// undo returns the credits of a frame that was not published after all.
func (s *selector) undo(id flow.FrameID, now time.Time) {
	for _, g := range s.groups {
		if _, out := g.out[id]; out {
			delete(g.out, id)
			g.giveBack(now)
		}
	}
}

func (s *selector) group(name string) *groupCredits {
	for _, g := range s.groups {
		if g.name == name {
			return g
		}
	}
	return nil
}

func (g *groupCredits) giveBack(rested time.Time) {
	if len(g.free)+len(g.out) < g.credits {
		g.free = append(g.free, rested)
	}
}

// expire takes back the credits whose answer is overdue. A group that answered none of its credits is silent.
func (g *groupCredits) expire(now time.Time) {
	for id, since := range g.out {
		if now.Sub(since) >= g.timeout() {
			delete(g.out, id)
			g.giveBack(now)
			g.expired++
		}
	}
	if g.expired >= g.credits {
		g.silent = true
	}
}

func (g *groupCredits) timeout() time.Duration {
	if len(g.lately) == 0 {
		return creditTimeout
	}
	return max(creditTimeout, creditPatience*slices.Max(g.lately))
}

// ready says whether the group takes a frame now; if not, at is when it may, zero: when a credit returns.
func (g *groupCredits) ready(now time.Time) (ok bool, at time.Time) {
	for id := range g.out { // a credit that is out returns by then at the latest
		at = earlier(at, g.out[id].Add(g.timeout()))
	}
	if len(g.free) == 0 {
		return false, at
	}
	at = slices.MinFunc(g.free, time.Time.Compare)
	if g.silent {
		at = latest(at, g.last.Add(probeEvery))
	}
	if g.every > 0 {
		at = latest(at, g.last.Add(g.every))
	}
	return !at.After(now), at
}

// earlier is the earlier of two times, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
