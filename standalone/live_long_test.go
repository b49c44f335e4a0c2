//go:build long

package standalone

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/fuser"
	"github.com/spatial-flow/spatial-flow/producer"
)

// between returns what was finished in a time.
func (s *sleeper) between(from, to time.Time) []finished {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.done), func(f finished) bool { return f.at.Before(from) || f.at.After(to) })
}

// capacity is how many frames a second the group does while a lossless source never lets it wait.
func (s *sleeper) capacity(t *testing.T, n int) float64 {
	t.Helper()
	eventually(t, s.group+" has done its first frames", func() bool { return len(s.between(time.Time{}, time.Now())) > n })
	s.mu.Lock()
	defer s.mu.Unlock()
	return float64(n) / s.done[n].at.Sub(s.done[0].at).Seconds()
}

func p95(all []finished) time.Duration {
	latencies := make([]time.Duration, len(all))
	for i, f := range all {
		latencies[i] = f.latency
	}
	slices.Sort(latencies)
	return latencies[len(latencies)*95/100]
}

// Live at 30 frames a second with a depth group that takes 200 ms and a detection group that takes 50 ms for a frame: each
// does what it can, all that depth does is joined, and latency and memory stay where they are. A minute, or what
// SPATIALFLOW_LIVE_FOR says: 5m is the test that the numbers in docs/benchmarks.md are from. It measures, so nothing runs
// beside it.
func TestLiveForAWhile(t *testing.T) {
	lasts := time.Minute
	if text := os.Getenv("SPATIALFLOW_LIVE_FOR"); text != "" {
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	detect, depth := &sleeper{group: flow.GroupDetect, work: 50 * time.Millisecond}, &sleeper{group: flow.GroupDepth, work: 200 * time.Millisecond}
	capacities := map[*sleeper]float64{}
	{ // in lossless mode first
		r := newRig(t)
		fuse, produce := serviceConfigs(t)
		produce.Sources = []string{"all=" + pictures(t, 30)}
		for _, s := range []*sleeper{detect, depth} {
			r.serve(s)
		}
		runService(r, "fuser", fuse, fuser.Run)
		runService(r, "producer", produce, producer.Run)
		capacities[detect], capacities[depth] = detect.capacity(t, 25), depth.capacity(t, 15)
		r.stop()
	}
	detect.done, depth.done = nil, nil
	_, board := newLiveRig(t, detect, depth)
	eventually(t, "depth works", func() bool { return len(depth.between(time.Time{}, time.Now())) > 3 })
	time.Sleep(3 * time.Second) // who is alive is known now
	begin := time.Now()
	var memory []int
	for i := range 4 {
		memory = append(memory, memoryUntil(begin.Add(time.Duration(i+1)*lasts/4)))
	}
	end := time.Now()
	seconds := end.Sub(begin).Seconds()
	for s, least := range map[*sleeper]float64{detect: .95 * min(30, capacities[detect]), depth: .95 * capacities[depth]} {
		if rate := float64(len(s.between(begin, end))) / seconds; rate < least {
			t.Errorf("%s: %.2f frames a second, want %.2f: it can %.2f", s.group, rate, least, capacities[s])
		} else {
			t.Logf("%s: %.2f frames a second of %.2f that it can", s.group, rate, capacities[s])
		}
	}
	joined := slices.DeleteFunc(depth.between(begin, end), func(f finished) bool { return !slices.Contains(f.plan, flow.GroupDetect) })
	if all := len(depth.between(begin, end)); len(joined)*100 < all*99 {
		t.Errorf("%d of %d frames of depth are detection's too, want 99 %%", len(joined), all)
	}
	quarter := end.Sub(begin) / 4
	early, late := p95(detect.between(begin.Add(quarter), begin.Add(2*quarter))), p95(detect.between(begin.Add(3*quarter), end))
	if late > early*12/10+10*time.Millisecond {
		t.Errorf("p95 of detection was %v in the second quarter, %v in the last", early, late)
	}
	t.Logf("p95 of detection %v, then %v; memory in the four quarters %v MiB", early, late, memory)
	if memory[3] > memory[1]*105/100 {
		t.Errorf("memory grew: %v MiB", memory)
	}
	if s := board.Statuses()[0]; s.Account.Check() != nil || len(s.Account.Dropped) > 0 {
		t.Errorf("account %+v: %v", s.Account, s.Account.Check())
	}
}

// memoryUntil is the process's memory in MiB, the median of every second until a time.
func memoryUntil(end time.Time) int {
	var seen []int
	for time.Now().Before(end) {
		time.Sleep(time.Second)
		seen = append(seen, pss(os.Getpid()))
	}
	slices.Sort(seen)
	return seen[len(seen)/2]
}
