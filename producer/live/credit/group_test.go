package credit

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/spatial-flow/spatial-flow/flow"
)

var detectAlone = []Group{{Name: "detect"}}

// eachDeployment runs a test of a camera of 100 frames per second at one of so many producers, with two workers that
// take 8 or 50 ms for a frame, and tell how many wait or do not. full is what they can do.
func eachDeployment(t *testing.T, test func(t *testing.T, s *simulation, full float64)) {
	for _, work := range []time.Duration{8 * time.Millisecond, 50 * time.Millisecond} {
		for _, producers := range []int{1, 2, 10} {
			for _, countless := range []bool{false, true} {
				t.Run(fmt.Sprintf("work %v, %d producers, countless %v", work, producers, countless), func(t *testing.T) {
					t.Parallel()
					s := newSimulations(producers, detectAlone, map[string]time.Duration{"detect": work}, 100)
					s.countless = countless
					s.share("detect", 2, 1)
					test(t, s, min(100, 2/work.Seconds()))
				})
			}
		}
	}
}

// want fails unless the workers do nine tenths of what they can in the five seconds to come.
func (s *simulation) want(t *testing.T, full float64, after string) {
	t.Helper()
	if rate := s.rate("detect", 5*time.Second); rate < 0.9*full {
		t.Errorf("%s: %.1f frames/s of %.1f", after, rate, full)
	}
}

// Whatever the workers' clock says, and however it is set, they get what they can do.
func TestCreditsKnowNoOtherClock(t *testing.T) {
	for _, skew := range []int{-500, -50, -20, -5, 0, 5, 20, 50, 500} {
		t.Run(fmt.Sprintf("%d ms off", skew), func(t *testing.T) {
			eachDeployment(t, func(t *testing.T, s *simulation, full float64) {
				s.skew = time.Duration(skew) * time.Millisecond
				s.run(5 * time.Second)
				s.want(t, full, "5 s after the start")
				s.run(30 * time.Second)
				s.want(t, full, "later")
				for _, step := range []time.Duration{600 * time.Millisecond, -1200 * time.Millisecond} {
					s.skew += step
					s.run(5 * time.Second)
					s.want(t, full, fmt.Sprintf("5 s after a step of %v", step))
				}
			})
		})
	}
}

// What stood still for seconds goes on as before, be it that workers hung or that NATS did.
func TestCreditsForgetAStall(t *testing.T) {
	for what, stall := range map[string]func(*simulation, time.Duration){
		"workers": func(s *simulation, d time.Duration) {
			s.workers["detect"] = 0
			s.run(d)
			s.workers["detect"] = 2
			s.work("detect")
		},
		"NATS": func(s *simulation, d time.Duration) {
			s.paused = s.now.Add(d)
			s.run(d)
		},
	} {
		for _, d := range []time.Duration{4 * time.Second, 20 * time.Second} {
			t.Run(fmt.Sprintf("%s for %v", what, d), func(t *testing.T) {
				eachDeployment(t, func(t *testing.T, s *simulation, full float64) {
					s.run(20 * time.Second)
					s.want(t, full, "before")
					stall(s, d)
					s.run(5 * time.Second)
					s.want(t, full, "5 s after it")
				})
			})
		}
	}
}

// Frames that were dropped, which nobody worked on, tell nothing of how long a frame takes, nor of a queue.
func TestCreditsLearnNothingFromDropped(t *testing.T) {
	eachDeployment(t, func(t *testing.T, s *simulation, full float64) {
		s.run(5 * time.Second)
		g := s.selector.group("detect")
		work := g.work()
		s.drops = true
		s.run(2 * time.Second)
		if g.work() != work {
			t.Errorf("a frame took %v, and %v after some were dropped", work, g.work())
		}
		s.drops = false
		s.run(time.Second)
		s.want(t, full, "a second after frames were dropped")
	})
}

// Eight producers on one worker each of 60 and 100 ms: without resting credits seven frames wait before each, and p50 is
// 569 ms. All get their share, and the workers do what they can.
func TestProducersDoNotQueueOnEachOther(t *testing.T) {
	for _, travel := range []time.Duration{0, 5 * time.Millisecond} {
		for _, skew := range []time.Duration{-50 * time.Millisecond, 0, 50 * time.Millisecond} {
			s := newSimulations(8, both, millis(60, 100), 30, 30, 30, 30, 30, 30, 30, 30)
			s.jitter, s.travel, s.skew = rand.New(rand.NewPCG(1, 2)), travel, skew
			s.share("detect", 1, 8)
			s.share("depth", 1, 8)
			s.run(2 * time.Minute)
			joined, perSource, p50 := s.joined(2)
			t.Logf("travel %v, clock %v off: detect %.1f/s, joined %.1f/s, p50 %v", travel, skew, float64(s.answered("detect"))/120, float64(joined)/120, p50)
			if detect := s.answered("detect"); float64(detect) < 0.9*120/0.06 || joined < 120*8 {
				t.Errorf("travel %v, clock %v off: detect did %d frames in 2 min, %d were joined", travel, skew, detect, joined)
			}
			if p50 > 260*time.Millisecond {
				t.Errorf("travel %v, clock %v off: p50 %v", travel, skew, p50)
			}
			for source, n := range perSource {
				if n < joined/8*2/3 || n > joined/8*3/2 {
					t.Errorf("travel %v, clock %v off: %s had %d of %d joined frames", travel, skew, source, n, joined)
				}
			}
		}
	}
}

// Messages that are under way for longer and shorter times are no queue, even where a frame takes a GPU no longer.
func TestCreditsTakeTravelForNoQueue(t *testing.T) {
	for _, workers := range []int{1, 2, 4, 8} {
		for _, travel := range []time.Duration{0, time.Millisecond, 2 * time.Millisecond} {
			s := newSimulation(detectAlone, map[string]time.Duration{"detect": 8 * time.Millisecond}, 2000)
			s.travel, s.jitter = travel, rand.New(rand.NewPCG(1, 2))
			s.share("detect", workers, 1)
			full := min(float64(workers)/0.008, float64(workers+1)/(0.008+2*travel.Seconds())) // of workers, of credits
			s.run(5 * time.Second)
			s.want(t, full, fmt.Sprintf("%d workers, %v there and %v back", workers, travel, travel))
		}
	}
}

// One or two producers at workers that are always busy: no frame waits for as long as another takes, and shares are equal.
func TestBusyWorkersAreNotQueuedFor(t *testing.T) {
	for _, producers := range []int{1, 2} {
		s := newSimulations(producers, both, millis(60, 100), 30, 30)
		s.jitter = rand.New(rand.NewPCG(1, 2))
		s.share("detect", 1, producers)
		s.share("depth", 1, producers)
		s.run(time.Minute)
		joined, perSource, p50 := s.joined(2)
		if detect := s.answered("detect"); detect < 60*15 || joined < 60*9 {
			t.Errorf("%d producers: detect did %d frames in a minute, %d were joined", producers, detect, joined)
		}
		if p50 > 180*time.Millisecond {
			t.Errorf("%d producers: p50 %v", producers, p50)
		}
		if a, b := perSource["cam0"], perSource["cam1"]; max(a, b)-min(a, b) > joined/10 {
			t.Errorf("%d producers: %d and %d joined frames", producers, a, b)
		}
	}
}

// Whatever workers say, a credit rests no longer than leaves the workers nine tenths of their work.
func TestRestIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, now := New(detectAlone...), time.Unix(1, 0)
		workers, all := rapid.IntRange(0, 70).Draw(t, "workers"), rapid.IntRange(0, 1000).Draw(t, "sources")
		s.Share("detect", workers, rapid.IntRange(0, 70).Draw(t, "here"), all, now)
		for seq := range rapid.Uint64Range(1, 60).Draw(t, "frames") {
			id := flow.FrameID{Source: "a", Session: "s", Seq: seq + 1}
			_, plan, _, ok := s.Pick(of("a"), now)
			if ok {
				s.Admit(id, plan, now)
			}
			now = now.Add(time.Duration(rapid.IntRange(0, 5000).Draw(t, "ms")) * time.Millisecond)
			s.Done("detect", id, flow.Done{
				Wait: time.Duration(rapid.Int64().Draw(t, "wait")), Work: time.Duration(rapid.Int64().Draw(t, "work")), Queue: rapid.Uint64().Draw(t, "queue"),
			}, now)
			if g := s.group("detect"); g.rest < 0 || g.rest > g.mostRest() || g.work() > 5*time.Second {
				t.Fatalf("a credit rests %v of at most %v, a frame takes %v", g.rest, g.mostRest(), g.work())
			}
		}
	})
}

// What workers can do is a producer's whose live sources are all there are; and what others need is theirs, by how many
// sources they have and not by how many they are.
func TestCreditsAreSharedBySources(t *testing.T) {
	alone := newSimulation(detectAlone, map[string]time.Duration{"detect": 50 * time.Millisecond}, 100)
	alone.workers["detect"] = 8
	alone.selector.Share("detect", 8, 1, 1, alone.now)
	if rate := alone.rate("detect", 20*time.Second); rate < 95 {
		t.Errorf("alone: %.1f frames/s of 100", rate)
	}
	s := New(detectAlone...)
	for _, share := range []struct{ mine, all, credits int }{{1, 64, 1}, {63, 64, 9}, {32, 64, 5}, {3, 9, 3}, {64, 64, 9}} {
		s.Share("detect", 8, share.mine, share.all, time.Unix(1000, 0))
		if got := s.group("detect").credits; got != share.credits {
			t.Errorf("%d of %d live sources: %d of 9 credits, want %d", share.mine, share.all, got, share.credits)
		}
	}
	if s.Share("detect", 1e12, 3, 3, time.Unix(1000, 0)); len(s.group("detect").free) != mostCredits {
		t.Errorf("%d credits, at most %d", len(s.group("detect").free), mostCredits)
	}
}
