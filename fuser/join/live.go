package join

import (
	"cmp"
	"slices"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
)

const remembered = 512 // frames of a source that were given out

// Live joins the results of one live source's frames by frame ID. A frame goes out when every group of its plan that it
// waits for has answered, or at its deadline with what there is; it never waits for an earlier one. It is pure: it knows
// no NATS, and is told the time. Every handle that goes in comes out again. It is not safe for concurrent use.
type Live[H any] struct {
	lags  *Lags
	open  map[flow.FrameID]*liveFrame[H]
	given []givenFrame // the last that went out
}

type givenFrame struct {
	id    flow.FrameID
	first time.Time // result
}

type liveFrame[H any] struct {
	answers
	handles []H
}

// LiveJoined is one live frame on its way out.
type LiveJoined[H any] struct {
	Joined
	Handles []H  // to ack
	Pushed  bool // it went before its time to make room
}

// NewLive makes an empty joiner.
func NewLive[H any](lags *Lags) *Live[H] {
	return &Live[H]{lags: lags, open: map[flow.FrameID]*liveFrame[H]{}}
}

// Add takes a result. False is returned, and nothing kept, when its frame has gone out already, or would be opened by it
// although it is stale, as one is that is delivered again, or waited longer than its budget: the result is late, or came
// twice; ack it.
func (l *Live[H]) Add(r *flow.Result, stale bool, handle H, now time.Time) bool {
	id := r.ID()
	if i := slices.IndexFunc(l.given, func(g givenFrame) bool { return g.id == id }); i >= 0 {
		if !stale {
			l.lags.learn(r, now.Sub(l.given[i].first))
		}
		return false
	}
	f := l.open[id]
	if f == nil {
		if stale {
			return false
		}
		f = &liveFrame[H]{answers: newAnswers(now)}
		l.open[id] = f
	}
	f.handles = append(f.handles, handle)
	if f.results[r.Group] == nil {
		l.lags.learn(r, now.Sub(f.first))
	}
	f.add(r)
	return true
}

// Next gives out a frame that is complete, or due, or, when there is no room, the oldest. When there is none, wake is when
// the next deadline ends; zero: never.
func (l *Live[H]) Next(needs Needs, room bool, now time.Time) (joined LiveJoined[H], wake time.Time, ok bool) {
	var chosen, oldest flow.FrameID
	for id, f := range l.open {
		deadline, complete := l.deadline(f, needs)
		if complete || !now.Before(deadline) {
			if !ok || less(id, chosen) {
				chosen, ok = id, true
			}
			continue
		}
		if wake.IsZero() || deadline.Before(wake) {
			wake = deadline
		}
		if o := l.open[oldest]; o == nil || f.first.Before(o.first) || f.first.Equal(o.first) && less(id, oldest) {
			oldest = id
		}
	}
	switch {
	case ok:
		return l.giveOut(chosen, false), time.Time{}, true
	case !room && len(l.open) > 0:
		return l.giveOut(oldest, true), time.Time{}, true
	}
	return LiveJoined[H]{}, wake, false
}

// deadline is when a frame goes out at the latest; complete says that every group that it waits for has answered, be it
// that it dropped the frame. A live frame's first plan counts.
func (l *Live[H]) deadline(f *liveFrame[H], needs Needs) (at time.Time, complete bool) {
	waited := needs.waited(f.plans[0])
	complete = !slices.ContainsFunc(waited, func(group string) bool { return f.results[group] == nil })
	return f.first.Add(l.lags.patience(waited...)), complete
}

func (l *Live[H]) giveOut(id flow.FrameID, pushed bool) LiveJoined[H] {
	f := l.open[id]
	delete(l.open, id)
	if l.given = append(l.given, givenFrame{id, f.first}); len(l.given) > remembered {
		l.given = l.given[1:]
	}
	return LiveJoined[H]{Joined: f.joined(f.plans[0]), Handles: f.handles, Pushed: pushed}
}

func less(a, b flow.FrameID) bool {
	return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Session, b.Session), cmp.Compare(a.Seq, b.Seq)) < 0
}
