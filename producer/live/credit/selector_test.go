package credit

import (
	"fmt"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/spatial-flow/spatial-flow/flow"
)

var both = []Group{{Name: "detect"}, {Name: "depth"}}

func millis(detect, depth int) map[string]time.Duration {
	return map[string]time.Duration{"detect": time.Duration(detect) * time.Millisecond, "depth": time.Duration(depth) * time.Millisecond}
}

// Groups of unequal speed each do what they can, and every depth result lands on a frame that detection has too.
func TestUnequalGroupsMeetOnTheSameFrames(t *testing.T) {
	for _, credits := range []int{1, 2} {
		s := newSimulation(both, millis(60, 100), 30)
		for _, group := range both {
			s.selector.Share(group.Name, credits-1, 1, 1, s.now)
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
	s.selector.Share("detect", 1, 1, 1, s.now)
	s.selector.Share("depth", 1, 1, 1, s.now)
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
	s.selector.Share("detect", 1, 1, 1, s.now)
	s.selector.Share("depth", 1, 1, 1, s.now)
	s.run(60 * time.Second)
	_, perSource, _ := s.joined(2)
	least, most := math.MaxInt, 0
	for i := range 8 {
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
	s := newSimulation([]Group{{Name: "detect"}, {Name: "depth", Required: true}}, millis(10, 100), 30)
	s.run(30 * time.Second)
	if n := len(s.plans) - s.answered("depth"); n > 2 {
		t.Errorf("%d frames were admitted without depth, which is required", n)
	}
	s = newSimulation([]Group{{Name: "detect"}, {Name: "depth", MaxRate: 2}}, millis(10, 10), 30)
	s.run(30 * time.Second)
	if n := s.answered("depth"); n < 55 || n > 61 {
		t.Errorf("depth did %d frames in 30 s, want 60 at 2/s", n)
	}
	if n := s.answered("detect"); n < 600 {
		t.Errorf("detect did %d frames in 30 s beside a capped depth", n)
	}
}

func TestLateDoneReturnsNothing(t *testing.T) {
	s, now := New(both[:1]...), time.Unix(1, 0)
	id := flow.FrameID{Source: "a", Session: "s", Seq: 1}
	s.Admit(id, []string{"detect"}, now)
	now = now.Add(6 * time.Second)
	if _, _, _, ok := s.Pick(of("a"), now); !ok {
		t.Fatal("the credit did not expire")
	}
	s.Done("detect", id, flow.Done{Work: time.Second}, now)
	if g := s.groups[0]; len(g.free) != 1 || g.silent {
		t.Errorf("%d credits after a late done, silent %v", len(g.free), g.silent)
	}
}

// Whatever comes in whatever order: a group never has more frames under way than credits, and no credit is lost.
func TestCreditsAreConserved(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, now := New(both...), time.Unix(1, 0)
		var out []flow.FrameID
		seq := uint64(0)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				if source, plan, _, ok := s.Pick(of("a", "b"), now); ok {
					seq++
					id := flow.FrameID{Source: source, Session: "s", Seq: seq}
					s.Admit(id, plan, now)
					out = append(out, id)
				}
			case 2:
				if len(out) > 0 {
					group := rapid.SampledFrom([]string{"detect", "depth"}).Draw(t, "group")
					done := flow.Done{Work: 50 * time.Millisecond, Queue: rapid.Uint64Range(0, 10).Draw(t, "queue")}
					s.Done(group, rapid.SampledFrom(out).Draw(t, "frame"), done, now)
				}
			case 3:
				s.Share(rapid.SampledFrom([]string{"detect", "depth"}).Draw(t, "group"), rapid.IntRange(0, 6).Draw(t, "workers"), 1, rapid.IntRange(1, 4).Draw(t, "sources"), now)
			}
			for _, g := range s.groups {
				if len(g.free)+len(g.out) < g.credits {
					t.Fatalf("%s: %d free and %d out of %d credits", g.name, len(g.free), len(g.out), g.credits)
				}
			}
		}
	})
}

// While no worker of the groups that lead is alive, a group that follows gets their probes and nothing else: a frame that it alone
// answers makes no scene. Where all groups follow, they lead.
func TestFollowersDoNotLead(t *testing.T) {
	t.Parallel()
	frames := func(s *Selector) (of map[string]int) {
		of = map[string]int{}
		now := time.Unix(1000, 0)
		s.Share("detect", 0, 1, 1, now)
		s.Share("pose", 8, 1, 1, now)
		for i := range 300 {
			now = now.Add(10 * time.Millisecond)
			_, plan, wake, ok := s.Pick(func() []string { return []string{"cam"} }, now)
			if !ok {
				if !wake.After(now) {
					t.Fatalf("nothing at %v, and it is to be asked again at %v", now, wake)
				}
				continue
			}
			id := flow.FrameID{Source: "cam", Session: "s", Seq: uint64(i + 1)}
			s.Admit(id, plan, now)
			of[fmt.Sprint(plan)]++
			s.Done("pose", id, flow.Done{Work: time.Millisecond, Outcome: flow.OutcomeComplete}, now.Add(time.Millisecond))
		}
		return of
	}
	if of := frames(New(Group{Name: "detect"}, Group{Name: "pose", Follows: true})); len(of) != 1 || of["[detect pose]"] != 1 {
		t.Errorf("frames by plan %v, want the one probe that its credit allows", of)
	}
	if of := frames(New(Group{Name: "pose", Follows: true})); of["[pose]"] < 200 {
		t.Errorf("frames by plan %v where all groups follow", of)
	}
}
