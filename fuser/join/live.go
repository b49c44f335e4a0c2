package join

import (
	"cmp"
	"slices"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
)

const (
	leastDeadline = 500 * time.Millisecond
	firstDeadline = 30 * time.Second // until a group's first result tells how long it takes
	mostDeadline  = time.Minute
	deadlineTimes = 2   // how much longer than the first the slowest plan member takes, on average
	meanWeight    = 0.1 // of one more result in a group's mean
	remembered    = 512 // frame IDs of a source that were given out
)

// LiveLimits bound what a live joiner holds.
type LiveLimits struct {
	Sources int   // known at once; the one that is silent longest is forgotten first
	Bytes   int64 // of all results that wait, by the size of their messages
}

// Live joins the results of live frames by frame ID. A frame goes out when every group of its plan has answered, or at
// its deadline with what there is; it never waits for an earlier one. It is pure: it knows no NATS, and now is always
// told. Every handle that goes in comes out again. It is not safe for concurrent use.
type Live[H any] struct {
	limits  LiveLimits
	sources map[string]*liveSource
	open    map[flow.FrameID]*liveFrame[H]
	bytes   int64
	means   map[string]time.Duration // from a frame's first result to a group's
}

type liveSource struct {
	given []givenFrame // the last that went out
	heard time.Time
}

type givenFrame struct {
	id    flow.FrameID
	first time.Time // result
}

type liveFrame[H any] struct {
	results  map[string]*flow.Result
	handles  []H
	bytes    int64
	plan     []string
	first    time.Time
	deadline time.Time
}

// Joined is one frame on its way out.
type Joined[H any] struct {
	Results []*flow.Result // in the order of the plan; without those that are missing
	Handles []H            // to ack
	Pushed  bool           // it went before its time to make room
}

// NewLive makes an empty joiner.
func NewLive[H any](limits LiveLimits) *Live[H] {
	return &Live[H]{limits: limits, sources: map[string]*liveSource{}, open: map[flow.FrameID]*liveFrame[H]{}, means: map[string]time.Duration{}}
}

// Add takes a result, size bytes large. False is returned, and nothing kept, when its frame has gone out already, or
// would be opened by it although it is stale, as one is that is delivered again, or waited longer than its budget: the
// result is late, or came twice; ack it.
func (l *Live[H]) Add(r *flow.Result, size int, stale bool, handle H, now time.Time) bool {
	id := r.ID()
	source := l.source(id.Source, now)
	if i := slices.IndexFunc(source.given, func(g givenFrame) bool { return g.id == id }); i >= 0 {
		if !stale {
			l.learn(r, now.Sub(source.given[i].first))
		}
		return false
	}
	f := l.open[id]
	if f == nil {
		if stale {
			return false
		}
		f = &liveFrame[H]{results: map[string]*flow.Result{}, plan: r.Plan, first: now}
		l.open[id] = f
	}
	f.handles = append(f.handles, handle)
	if f.results[r.Group] == nil {
		l.learn(r, now.Sub(f.first))
		f.results[r.Group] = r
		f.bytes += int64(size)
		l.bytes += int64(size)
	}
	f.deadline = f.first.Add(l.patience(f.plan))
	return true
}

// learn follows how much later than a frame's first result a group's comes, by this host's clock: what groups say of
// their waits depends on other clocks. What was dropped was not worked on and tells nothing.
func (l *Live[H]) learn(r *flow.Result, after time.Duration) {
	if r.Dropped != "" {
		return
	}
	after = min(after, firstDeadline)
	if mean, known := l.means[r.Group]; known {
		after = mean + time.Duration(meanWeight*float64(after-mean))
	}
	l.means[r.Group] = after
}

// patience is how long a frame of the plan may wait after its first result.
func (l *Live[H]) patience(plan []string) time.Duration {
	slowest := time.Duration(0)
	for _, group := range plan {
		mean, known := l.means[group]
		if !known {
			return firstDeadline
		}
		slowest = max(slowest, mean)
	}
	return min(max(leastDeadline, deadlineTimes*slowest), mostDeadline)
}

// source finds or makes a source; beyond the limit the one silent longest, with nothing open, is forgotten.
func (l *Live[H]) source(name string, now time.Time) *liveSource {
	s := l.sources[name]
	if s == nil {
		if len(l.sources) >= l.limits.Sources {
			l.forget()
		}
		s = &liveSource{}
		l.sources[name] = s
	}
	s.heard = now
	return s
}

func (l *Live[H]) forget() {
	oldest := ""
	for name, s := range l.sources {
		if oldest == "" || s.heard.Before(l.sources[oldest].heard) {
			oldest = name
		}
	}
	delete(l.sources, oldest)
}

// Next gives out a frame that is complete, or due, or the oldest when there is no room. When there is none, wake is when
// the next deadline ends; zero: never.
func (l *Live[H]) Next(now time.Time) (joined Joined[H], wake time.Time, ok bool) {
	var chosen, oldest flow.FrameID
	for id, f := range l.open {
		if f.complete() || !now.Before(f.deadline) {
			if !ok || less(id, chosen) {
				chosen, ok = id, true
			}
			continue
		}
		if wake.IsZero() || f.deadline.Before(wake) {
			wake = f.deadline
		}
		if o := l.open[oldest]; o == nil || f.first.Before(o.first) || f.first.Equal(o.first) && less(id, oldest) {
			oldest = id
		}
	}
	switch {
	case ok:
		return l.giveOut(chosen, false), time.Time{}, true
	case l.bytes > l.limits.Bytes:
		return l.giveOut(oldest, true), time.Time{}, true
	}
	return Joined[H]{}, wake, false
}

func (l *Live[H]) giveOut(id flow.FrameID, pushed bool) Joined[H] {
	f := l.open[id]
	delete(l.open, id)
	l.bytes -= f.bytes
	if s := l.sources[id.Source]; s != nil {
		if s.given = append(s.given, givenFrame{id, f.first}); len(s.given) > remembered {
			s.given = s.given[1:]
		}
	}
	joined := Joined[H]{Handles: f.handles, Pushed: pushed}
	for _, group := range f.plan {
		if r := f.results[group]; r != nil {
			joined.Results = append(joined.Results, r)
		}
	}
	return joined
}

// complete says whether every group of the plan has answered, be it that it dropped the frame.
func (f *liveFrame[H]) complete() bool {
	return !slices.ContainsFunc(f.plan, func(group string) bool { return f.results[group] == nil })
}

func less(a, b flow.FrameID) bool {
	return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Session, b.Session), cmp.Compare(a.Seq, b.Seq)) < 0
}

// Held lists the handles of all results that wait.
func (l *Live[H]) Held() []H {
	var all []H
	for _, f := range l.open {
		all = append(all, f.handles...)
	}
	return all
}
