// Package credit decides which live frame goes to which groups. It is pure: it knows no NATS, no pictures and no clock.
package credit

import (
	"slices"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
)

// Selector decides which frame of which live source goes to which groups, so that nothing queues anywhere: every group
// has credits, one for each frame that it may have under way. The first group that is not silent, of those that may lead, leads: a frame is
// admitted only when the lead has a credit, and every other group that has one at that moment joins the plan, so the
// others' frames are always among the lead's. While all that may lead are silent a frame is admitted with each of their probes.
// It compares no other host's clock with its own.
type Selector struct {
	groups []*groupCredits                 // in the order of the deployment
	served map[string]map[string]time.Time // by source and group
	turn   map[string]uint64               // when a source was taken last, counted in frames
	taken  uint64
}

// Group is what a group is allowed in live mode.
type Group struct {
	Name     string
	Follows  bool    // it never leads, unless all groups follow: frames are admitted without it, and none with such groups alone
	Required bool    // no frame is admitted without it, unless it is silent
	MaxRate  float64 // frames per second; 0: no cap
}

// New is a selector for the groups, in the order in which they lead.
func New(groups ...Group) *Selector {
	s := &Selector{served: map[string]map[string]time.Time{}, turn: map[string]uint64{}}
	s.SetGroups(groups)
	return s
}

// SetGroups lets these groups take part, in the order in which they lead. One that did before keeps its credits, and what is
// known of it; frames of one that does no more are forgotten.
func (s *Selector) SetGroups(groups []Group) {
	before := s.groups
	s.groups = nil
	leads := slices.ContainsFunc(groups, func(g Group) bool { return !g.Follows })
	for _, g := range groups {
		i := slices.IndexFunc(before, func(c *groupCredits) bool { return c.name == g.Name })
		c := &groupCredits{name: g.Name, credits: 1, free: make([]time.Time, 1), out: map[flow.FrameID]time.Time{}}
		if i >= 0 {
			c = before[i]
		}
		c.follows, c.required, c.every = g.Follows && leads, g.Required, 0
		if g.MaxRate > 0 {
			c.every = time.Duration(float64(time.Second) / g.MaxRate)
		}
		s.groups = append(s.groups, c)
	}
}

// Forget forgets a source.
func (s *Selector) Forget(source string) {
	delete(s.served, source)
	delete(s.turn, source)
}

// Share sets what is known of the deployment: a group's workers share its credits among all live sources that run, of
// which mine are here. They are one more than there are workers, so that none waits while a credit travels. Without
// workers the group is silent.
func (s *Selector) Share(group string, workers, mine, all int, now time.Time) {
	if g := s.group(group); g != nil {
		g.share(workers, max(mine, 1), max(mine, all, 1), now)
	}
}

// Pick chooses, among the sources that have a fresh frame, whose frame goes to which groups now. fresh lists them; it is asked only
// when groups have room. ok is false when none
// may go yet: wake is when to ask again, unless a done comes before; zero: not before one comes.
func (s *Selector) Pick(fresh func() []string, now time.Time) (source string, plan []string, wake time.Time, ok bool) {
	for _, g := range s.groups {
		g.expire(now)
	}
	lead := slices.IndexFunc(s.groups, func(g *groupCredits) bool { return !g.silent && !g.follows })
	scarcest, led := "", false
	for i, g := range s.groups {
		ready, at := g.ready(now)
		if ready {
			plan, scarcest = append(plan, g.name), g.name
			led = led || !g.follows
			continue
		}
		if i == lead || lead < 0 && !g.follows || g.required && !g.silent {
			wake = earlier(wake, at)
		}
	}
	blocked := lead >= 0 && !slices.Contains(plan, s.groups[lead].name) ||
		slices.ContainsFunc(s.groups, func(g *groupCredits) bool {
			return g.required && !g.silent && !slices.Contains(plan, g.name)
		})
	if !led || blocked {
		return "", nil, wake, false
	}
	sources := fresh()
	if len(sources) == 0 {
		return "", nil, wake, false
	}
	return s.longestUnserved(sources, scarcest), plan, time.Time{}, true
}

// longestUnserved is the source whose frames the group had longest ago; of equals, the one taken longest ago.
func (s *Selector) longestUnserved(fresh []string, group string) string {
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

func (s *Selector) servedAt(source, group string) time.Time { return s.served[source][group] }

// Admit takes a credit of every group of the plan for the frame.
func (s *Selector) Admit(id flow.FrameID, plan []string, now time.Time) {
	served := s.served[id.Source]
	if served == nil {
		served = map[string]time.Time{}
		s.served[id.Source] = served
	}
	s.taken++
	s.turn[id.Source] = s.taken
	for _, g := range s.groups {
		if !slices.Contains(plan, g.name) {
			continue
		}
		served[g.name], g.last = now, now
		slices.SortFunc(g.free, time.Time.Compare)
		g.free, g.out[id] = g.free[1:], now
	}
}

// Done returns the credit of a frame that a group has finished. It rests for as long as the group's queue asks for. A done
// that comes after its credit has expired returns nothing; one of a frame that was dropped tells nothing of the group.
func (s *Selector) Done(group string, id flow.FrameID, done flow.Done, now time.Time) {
	g := s.group(group)
	if g == nil {
		return
	}
	g.silent, g.expired = false, 0
	since, out := g.out[id]
	if !out {
		return
	}
	delete(g.out, id)
	if done.Outcome != flow.OutcomeDropped {
		g.learn(now.Sub(since), done, now)
	}
	g.giveBack(now.Add(g.rest))
}

// Undo returns the credits of a frame that was not published after all.
func (s *Selector) Undo(id flow.FrameID, now time.Time) {
	for _, g := range s.groups {
		if _, out := g.out[id]; out {
			delete(g.out, id)
			g.giveBack(now)
		}
	}
}

// Slowest is the longest round trip of a group's last frames. ok is false while it has answered none.
func (s *Selector) Slowest(group string) (trip time.Duration, ok bool) {
	g := s.group(group)
	if g == nil || len(g.trips) == 0 {
		return 0, false
	}
	return slices.Max(g.trips), true
}

func (s *Selector) group(name string) *groupCredits {
	for _, g := range s.groups {
		if g.name == name {
			return g
		}
	}
	return nil
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
