package producer

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/spatial-flow/spatial-flow/flow"
)

// street of simulated time: cameras, groups with workers that take frames in order, and the selector between them.
type simulation struct {
	selector *selector
	cameras  []float64                // frames per second
	works    map[string]time.Duration // of a frame, by group
	workers  map[string]int

	now      time.Time
	events   []event
	queues   map[string][]queued
	busy     map[string]int
	pending  map[string]flow.FrameID // newest frame of each source
	answers  map[flow.FrameID]map[string]time.Duration
	plans    map[flow.FrameID][]string
	captured map[flow.FrameID]time.Time
}

type event struct {
	at time.Time
	do func()
}

type queued struct {
	id    flow.FrameID
	since time.Time
}

func newSimulation(groups []selectorGroup, works map[string]time.Duration, cameras ...float64) *simulation {
	s := &simulation{
		selector: newSelector(groups), cameras: cameras, works: works, workers: map[string]int{},
		now: time.Unix(1000, 0), queues: map[string][]queued{}, busy: map[string]int{}, pending: map[string]flow.FrameID{},
		answers: map[flow.FrameID]map[string]time.Duration{}, plans: map[flow.FrameID][]string{}, captured: map[flow.FrameID]time.Time{},
	}
	for group := range works {
		s.workers[group] = 1
	}
	for i, fps := range cameras {
		source := fmt.Sprintf("cam%d", i)
		every := time.Duration(float64(time.Second) / fps)
		s.after(time.Duration(i)*time.Millisecond, func() { s.capture(source, 1, every) })
	}
	return s
}

func (s *simulation) after(d time.Duration, do func()) {
	e := event{s.now.Add(d), do}
	at := sort.Search(len(s.events), func(i int) bool { return s.events[i].at.After(e.at) })
	s.events = slices.Insert(s.events, at, e)
}

func (s *simulation) capture(source string, seq uint64, every time.Duration) {
	id := flow.FrameID{Source: source, Session: "s", Seq: seq}
	s.captured[id] = s.now
	s.pending[source] = id
	s.after(every, func() { s.capture(source, seq+1, every) })
	s.admit()
}

func (s *simulation) admit() {
	for {
		var fresh []string
		for source := range s.pending {
			fresh = append(fresh, source)
		}
		slices.Sort(fresh)
		source, plan, wake, ok := s.selector.pick(fresh, s.now)
		if !ok {
			if len(fresh) > 0 && !wake.IsZero() {
				s.after(max(wake.Sub(s.now), time.Millisecond), s.admit)
			}
			return
		}
		id := s.pending[source]
		delete(s.pending, source)
		s.selector.admit(id, plan, s.now)
		s.plans[id], s.answers[id] = plan, map[string]time.Duration{}
		for _, group := range plan {
			s.queues[group] = append(s.queues[group], queued{id, s.now})
			s.work(group)
		}
	}
}

func (s *simulation) work(group string) {
	for s.busy[group] < s.workers[group] && len(s.queues[group]) > 0 {
		q := s.queues[group][0]
		s.queues[group] = s.queues[group][1:]
		s.busy[group]++
		wait, work := s.now.Sub(q.since), s.works[group]
		s.after(work, func() {
			s.busy[group]--
			s.answers[q.id][group] = s.now.Sub(s.captured[q.id])
			s.selector.done(group, q.id, wait, work, s.now)
			s.work(group)
			s.admit()
		})
	}
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

func (s *simulation) answered(group string) (n int) {
	for _, answers := range s.answers {
		if _, ok := answers[group]; ok {
			n++
		}
	}
	return n
}

var both = []selectorGroup{{name: "detect"}, {name: "depth"}}

func millis(detect, depth int) map[string]time.Duration {
	return map[string]time.Duration{"detect": time.Duration(detect) * time.Millisecond, "depth": time.Duration(depth) * time.Millisecond}
}

// Groups of unequal speed each do what they can, and every depth result lands on a frame that detection has too.
func TestUnequalGroupsMeetOnTheSameFrames(t *testing.T) {
	for _, credits := range []int{1, 2} {
		s := newSimulation(both, millis(60, 100), 30)
		for _, group := range both {
			s.selector.follow(group.name, credits-1, 1, s.now)
		}
		if credits == 1 {
			s.selector.group("detect").silent, s.selector.group("depth").silent = false, false
		}
		s.run(60 * time.Second)
		detect, depth := float64(s.answered("detect"))/60, float64(s.answered("depth"))/60
		joined, _, p50 := s.joined(2)
		t.Logf("K=%d: detect %.1f/s, depth %.1f/s, joined %.1f/s, p50 %v", credits, detect, depth, float64(joined)/60, p50)
		if detect < 15 || depth < 7.5 || math.Abs(float64(joined)/60-depth) > 0.1 {
			t.Errorf("K=%d: detect %.1f/s, depth %.1f/s, joined %.1f/s; want 15, 7.5 and all of depth's", credits, detect, depth, float64(joined)/60)
		}
		if p50 > 250*time.Millisecond {
			t.Errorf("K=%d: p50 %v", credits, p50)
		}
	}
}

// Latency stays flat however slow a group is, and the others do not notice.
func TestSlowGroupHurtsNobody(t *testing.T) {
	s := newSimulation(both, millis(60, 1500), 30)
	s.selector.follow("detect", 1, 1, s.now)
	s.selector.follow("depth", 1, 1, s.now)
	s.run(60 * time.Second)
	if rate := float64(s.answered("detect")) / 60; rate < 15 {
		t.Errorf("detect %.1f/s beside a slow depth, want 15", rate)
	}
	if rate := float64(s.answered("depth")) / 60; rate < 0.6 {
		t.Errorf("depth %.2f/s, want 0.6", rate)
	}
	for group, queue := range s.queues {
		if len(queue) > 2 {
			t.Errorf("%d frames wait for %s", len(queue), group)
		}
	}
}

// Sources of unequal rate get equal shares of the scarce group.
func TestSourcesShareFairly(t *testing.T) {
	s := newSimulation(both, millis(20, 100), 60, 10, 10, 60, 10, 60, 10, 10)
	s.selector.follow("detect", 1, 1, s.now)
	s.selector.follow("depth", 1, 1, s.now)
	s.run(60 * time.Second)
	_, perSource, _ := s.joined(2)
	least, most := math.MaxInt, 0
	for i := range s.cameras {
		n := perSource[fmt.Sprintf("cam%d", i)]
		least, most = min(least, n), max(most, n)
	}
	if least == 0 || most > least+least/10+2 {
		t.Errorf("joined per source %v: %d to %d", perSource, least, most)
	}
}

// A group that dies is silent after its credits have expired: the next one leads; when it answers a probe it leads again.
func TestSilentGroupLosesAndRegainsTheLead(t *testing.T) {
	s := newSimulation(both, millis(50, 50), 30)
	s.run(5 * time.Second)
	s.workers["detect"] = 0
	s.run(5500 * time.Millisecond)
	before := s.answered("depth")
	s.run(10 * time.Second)
	if rate := float64(s.answered("depth")-before) / 10; rate < 10 {
		t.Errorf("with detect dead depth did %.1f/s, want more than 10", rate)
	}
	s.queues["detect"] = nil
	s.workers["detect"] = 1
	s.busy["detect"] = 0
	s.run(2 * time.Second)
	before = s.answered("detect")
	s.run(10 * time.Second)
	if rate := float64(s.answered("detect")-before) / 10; rate < 10 {
		t.Errorf("back again detect did %.1f/s, want more than 10", rate)
	}
}

func TestRequiredAndCapped(t *testing.T) {
	s := newSimulation([]selectorGroup{{name: "detect"}, {name: "depth", required: true}}, millis(10, 100), 30)
	s.run(30 * time.Second)
	if n := len(s.plans) - s.answered("depth"); n > 2 {
		t.Errorf("%d frames were admitted without depth, which is required", n)
	}
	s = newSimulation([]selectorGroup{{name: "detect"}, {name: "depth", maxRate: 2}}, millis(10, 10), 30)
	s.run(30 * time.Second)
	if n := s.answered("depth"); n < 55 || n > 61 {
		t.Errorf("depth did %d frames in 30 s, want 60 at 2/s", n)
	}
	if n := s.answered("detect"); n < 600 {
		t.Errorf("detect did %d frames in 30 s beside a capped depth", n)
	}
}

func TestLateDoneReturnsNothing(t *testing.T) {
	s, now := newSelector(both[:1]), time.Unix(1, 0)
	id := flow.FrameID{Source: "a", Session: "s", Seq: 1}
	s.admit(id, []string{"detect"}, now)
	now = now.Add(6 * time.Second)
	if _, _, _, ok := s.pick([]string{"a"}, now); !ok {
		t.Fatal("the credit did not expire")
	}
	s.done("detect", id, 0, time.Second, now)
	if g := s.groups[0]; len(g.free) != 1 || g.silent {
		t.Errorf("%d credits after a late done, silent %v", len(g.free), g.silent)
	}
}

// Whatever comes in whatever order: a group never has more frames under way than credits, and no credit is lost.
func TestCreditsAreConserved(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, now := newSelector(both), time.Unix(1, 0)
		var out []flow.FrameID
		seq := uint64(0)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				if source, plan, _, ok := s.pick([]string{"a", "b"}, now); ok {
					seq++
					id := flow.FrameID{Source: source, Session: "s", Seq: seq}
					s.admit(id, plan, now)
					out = append(out, id)
				}
			case 2:
				if len(out) > 0 {
					group := rapid.SampledFrom([]string{"detect", "depth"}).Draw(t, "group")
					s.done(group, rapid.SampledFrom(out).Draw(t, "frame"), time.Duration(rapid.IntRange(0, 500).Draw(t, "wait"))*time.Millisecond, 50*time.Millisecond, now)
				}
			case 3:
				s.follow(rapid.SampledFrom([]string{"detect", "depth"}).Draw(t, "group"), rapid.IntRange(0, 6).Draw(t, "workers"), rapid.IntRange(1, 4).Draw(t, "producers"), now)
			}
			for _, g := range s.groups {
				if len(g.free)+len(g.out) < g.credits {
					t.Fatalf("%s: %d free and %d out of %d credits", g.name, len(g.free), len(g.out), g.credits)
				}
			}
		}
	})
}
