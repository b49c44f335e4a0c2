package credit

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
)

// simulation is a deployment in simulated time: cameras of several producers, groups whose workers take frames in order,
// and between them each producer's selector.
type simulation struct {
	selector  *Selector // of the first producer
	producers []*simulated
	works     map[string]time.Duration // of a frame, by group
	workers   map[string]int
	skew      time.Duration // that the workers' clock is ahead of the producers'
	travel    time.Duration // of a frame to the workers, and of a done back
	countless bool          // workers do not tell how long their queue is
	drops     bool          // workers drop all that they take
	jitter    *rand.Rand    // of the time that a frame takes, a fifth more or less, and of travel, half; nil: none

	now      time.Time
	paused   time.Time // NATS delivers nothing until then
	events   []event
	queues   map[string][]queued
	busy     map[string]int
	finished map[string]int // frames, by group
	answers  map[flow.FrameID]map[string]time.Duration
	plans    map[flow.FrameID][]string
	captured map[flow.FrameID]time.Time
}

// simulated is one producer.
type simulated struct {
	selector *Selector
	pending  map[string]flow.FrameID // newest frame of each source
	wake     time.Time               // when the selector is asked again at the latest
}

type event struct {
	at time.Time
	do func()
}

type queued struct {
	id    flow.FrameID
	since time.Time
	from  *simulated
}

// newSimulation has one producer with cameras of so many frames per second, and one worker in each group.
func newSimulation(groups []Group, works map[string]time.Duration, cameras ...float64) *simulation {
	return newSimulations(1, groups, works, cameras...)
}

// newSimulations deals the cameras to so many producers.
func newSimulations(producers int, groups []Group, works map[string]time.Duration, cameras ...float64) *simulation {
	s := &simulation{
		works: works, workers: map[string]int{},
		now: time.Unix(1000, 0), queues: map[string][]queued{}, busy: map[string]int{}, finished: map[string]int{},
		answers: map[flow.FrameID]map[string]time.Duration{}, plans: map[flow.FrameID][]string{}, captured: map[flow.FrameID]time.Time{},
	}
	for range producers {
		s.producers = append(s.producers, &simulated{selector: New(groups...), pending: map[string]flow.FrameID{}})
	}
	s.selector = s.producers[0].selector
	for group := range works {
		s.workers[group] = 1
	}
	for i, fps := range cameras {
		source := fmt.Sprintf("cam%d", i)
		every := time.Duration(float64(time.Second) / fps)
		s.after(time.Duration(i)*time.Millisecond, func() { s.capture(s.producers[i%producers], source, 1, every) })
	}
	return s
}

// share tells every selector that a group has so many workers, and that each producer has one of so many live sources.
func (s *simulation) share(group string, workers, sources int) {
	s.workers[group] = workers
	for _, p := range s.producers {
		p.selector.Share(group, workers, 1, sources, s.now)
	}
}

func (s *simulation) after(d time.Duration, do func()) {
	e := event{s.now.Add(d), do}
	at := sort.Search(len(s.events), func(i int) bool { return s.events[i].at.After(e.at) })
	s.events = slices.Insert(s.events, at, e)
}

// deliver does what a message does that is sent now.
func (s *simulation) deliver(do func()) {
	travel := s.travel
	if s.jitter != nil {
		travel = time.Duration(float64(travel) * (0.5 + s.jitter.Float64()))
	}
	switch wait := max(travel, s.paused.Sub(s.now)); {
	case wait > 0:
		s.after(wait, do)
	default:
		do()
	}
}

func (s *simulation) capture(p *simulated, source string, seq uint64, every time.Duration) {
	id := flow.FrameID{Source: source, Session: "s", Seq: seq}
	if overtaken, ok := p.pending[source]; ok {
		delete(s.captured, overtaken)
	}
	s.captured[id] = s.now
	p.pending[source] = id
	s.after(every, func() { s.capture(p, source, seq+1, every) })
	s.Admit(p)
}

func (s *simulation) Admit(p *simulated) {
	for {
		var fresh []string
		for source := range p.pending {
			fresh = append(fresh, source)
		}
		slices.Sort(fresh)
		source, plan, wake, ok := p.selector.Pick(of(fresh...), s.now)
		if !ok {
			if len(fresh) > 0 && !wake.IsZero() && (!p.wake.After(s.now) || wake.Before(p.wake)) {
				p.wake = latest(wake, s.now.Add(time.Millisecond))
				s.after(p.wake.Sub(s.now), func() { s.Admit(p) })
			}
			return
		}
		id := p.pending[source]
		delete(p.pending, source)
		p.selector.Admit(id, plan, s.now)
		s.plans[id], s.answers[id] = plan, map[string]time.Duration{}
		q := queued{id, s.now, p}
		for _, group := range plan {
			s.deliver(func() {
				s.queues[group] = append(s.queues[group], q)
				s.work(group)
			})
		}
	}
}

// work lets the group's workers that are free take frames.
func (s *simulation) work(group string) {
	for s.busy[group] < s.workers[group] && len(s.queues[group]) > 0 {
		q := s.queues[group][0]
		s.queues[group] = s.queues[group][1:]
		s.busy[group]++
		done := flow.Done{Wait: max(0, s.now.Sub(q.since)+s.skew), Work: s.takes(group), Outcome: flow.OutcomeComplete}
		if !s.countless {
			done.Queue = uint64(len(s.queues[group]) + 1)
		}
		if s.drops {
			done.Outcome, done.Work = flow.OutcomeDropped, 0
		}
		s.after(done.Work, func() {
			s.busy[group]--
			if !s.drops {
				s.finished[group]++
				s.answers[q.id][group] = s.now.Sub(s.captured[q.id])
			}
			s.deliver(func() {
				q.from.selector.Done(group, q.id, done, s.now)
				s.Admit(q.from)
			})
			s.work(group)
		})
	}
}

func (s *simulation) takes(group string) time.Duration {
	if s.jitter == nil {
		return s.works[group]
	}
	return time.Duration(float64(s.works[group]) * (0.8 + 0.4*s.jitter.Float64()))
}

func (s *simulation) run(d time.Duration) {
	end := s.now.Add(d)
	for len(s.events) > 0 && !s.events[0].at.After(end) {
		e := s.events[0]
		s.events = s.events[1:]
		s.now = e.at
		e.do()
	}
	s.now = end
}

// rate is how many frames per second the group answers in the time to come.
func (s *simulation) rate(group string, d time.Duration) float64 {
	before := s.finished[group]
	s.run(d)
	return float64(s.finished[group]-before) / d.Seconds()
}

// joined counts the frames that all groups answered, per source, and p50 of the time from capture to the last answer.
func (s *simulation) joined(groups int) (total int, perSource map[string]int, p50 time.Duration) {
	perSource = map[string]int{}
	var times []time.Duration
	for id, answers := range s.answers {
		if len(answers) < groups {
			continue
		}
		total++
		perSource[id.Source]++
		slowest := time.Duration(0)
		for _, t := range answers {
			slowest = max(slowest, t)
		}
		times = append(times, slowest)
	}
	slices.Sort(times)
	if len(times) > 0 {
		p50 = times[len(times)/2]
	}
	return total, perSource, p50
}

func (s *simulation) answered(group string) int { return s.finished[group] }

// of lists the sources that have a fresh frame.
func of(sources ...string) func() []string { return func() []string { return sources } }
