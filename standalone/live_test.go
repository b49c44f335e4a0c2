package standalone

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/flow/natsserver"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/flow/telemetry"
	"github.com/spatial-flow/spatial-flow/fuser"
	"github.com/spatial-flow/spatial-flow/producer"
)

// sleeper is a worker group of one worker that sleeps for so long over a frame, so that groups do not share the CPU.
type sleeper struct {
	group string
	work  time.Duration

	mu   sync.Mutex
	done []finished
}

// finished is one frame that a group has answered.
type finished struct {
	at      time.Time
	latency time.Duration // since its capture
	id      flow.FrameID
	plan    []string
}

// rig is a server with services and workers of a test.
type rig struct {
	t      *testing.T
	server *natsserver.Server
	ctx    context.Context
	stop   func() // may be called again
	buses  []*bus.Bus
	tasks  sync.WaitGroup
}

func newRig(t *testing.T) *rig {
	t.Helper()
	server, err := natsserver.Start(t.TempDir(), quiet)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &rig{t: t, server: server, ctx: ctx}
	r.stop = sync.OnceFunc(func() {
		cancel()
		r.tasks.Wait()
		for _, b := range r.buses {
			b.Close()
		}
		server.Stop()
	})
	t.Cleanup(r.stop)
	deployment := flow.DefaultDeployment()
	deployment.Limits.LiveStorage = flow.LiveInMemory // as in up
	if err := r.connect("test").Provision(ctx, deployment); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) connect(role string) *bus.Bus {
	r.t.Helper()
	b, err := r.server.Connect(role, quiet)
	if err != nil {
		r.t.Fatal(err)
	}
	r.buses = append(r.buses, b)
	return b
}

// runService runs a service until the test ends.
func runService[C any](r *rig, name string, cfg C, run service.Run[C]) {
	env := service.Env{Bus: r.connect(name), Log: quiet, Metrics: prometheus.NewRegistry(), Health: new(telemetry.Health)}
	r.tasks.Go(func() {
		if err := run(r.ctx, cfg, env); err != nil {
			r.t.Errorf("%s: %v", name, err)
		}
	})
}

// serve answers the group's frames of both modes, and says that it is alive.
func (r *rig) serve(s *sleeper) {
	r.t.Helper()
	b := r.connect(s.group)
	for _, mode := range flow.Modes {
		messages, err := b.TakeFrames(r.ctx, s.group, mode, 1)
		if err != nil {
			r.t.Fatal(err)
		}
		r.tasks.Go(func() {
			defer messages.Stop()
			for {
				msg, err := messages.Next(jetstream.NextContext(r.ctx))
				if err != nil {
					return
				}
				s.answer(r.t, b, msg)
			}
		})
	}
	r.tasks.Go(func() {
		for {
			_ = b.PublishAlive(flow.Alive{Stage: s.group, Instance: "sleeper", Parallel: 1})
			if !clock.Sleep(r.ctx, time.Second) {
				return
			}
		}
	})
}

func (s *sleeper) answer(t *testing.T, b *bus.Bus, msg jetstream.Msg) {
	taken := time.Now()
	var f flow.Frame
	if err := flow.Decode(msg.Data(), &f); err != nil {
		t.Error(err)
		return
	}
	wait := taken.Sub(time.Unix(0, f.Sent))
	time.Sleep(s.work)
	work := time.Since(taken)
	result := &flow.Result{
		Version: flow.Wire, Group: s.group, Source: f.Source, Session: f.Session, Seq: f.Seq, Mode: f.Mode, Captured: f.Captured,
		Sent: time.Now().UnixNano(), Width: f.Width, Height: f.Height, Plan: f.Plan, Budget: f.Budget,
		Ledger: append(f.Ledger, flow.Hop{Stage: s.group, Wait: max(wait, 0), Work: work}),
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := b.PublishResult(ctx, result); err != nil {
		return // the test is over
	}
	_ = b.PublishDone(s.group, f.Source, flow.Done{Version: 1, Session: f.Session, Seq: f.Seq, Wait: max(wait, 0), Work: work, Outcome: flow.OutcomeComplete})
	_ = msg.Ack()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.done = append(s.done, finished{now, now.Sub(time.Unix(0, f.Captured)), f.ID(), f.Plan})
}

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
// does what it can, all that depth does is joined, and latency and memory stay where they are. 20 seconds, or what
// SPATIALFLOW_LIVE_FOR says: 5m is the test that the numbers in docs/benchmarks.md are from.
func TestLiveForAWhile(t *testing.T) {
	long := 20 * time.Second
	if text := os.Getenv("SPATIALFLOW_LIVE_FOR"); text != "" {
		var err error
		if long, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	detect, depth := &sleeper{group: flow.GroupDetect, work: 50 * time.Millisecond}, &sleeper{group: flow.GroupDepth, work: 200 * time.Millisecond}
	share := .85 // on a machine that does other things too
	if long >= time.Minute {
		share = .95
	}
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
	r := newRig(t)
	fuse, produce := serviceConfigs(t)
	produce.Sources, produce.Status = []string{"cam=" + pictures(t, 300) + "#mode=live&fps=30&loop=true"}, producer.NewBoard()
	for _, s := range []*sleeper{detect, depth} {
		r.serve(s)
	}
	runService(r, "fuser", fuse, fuser.Run)
	runService(r, "producer", produce, producer.Run)
	eventually(t, "depth works", func() bool { return len(depth.between(time.Time{}, time.Now())) > 3 })
	time.Sleep(3 * time.Second) // who is alive is known now
	begin := time.Now()
	var memory []int
	for i := range 4 {
		memory = append(memory, memoryUntil(begin.Add(time.Duration(i+1)*long/4)))
	}
	end := time.Now()
	seconds := end.Sub(begin).Seconds()
	for s, least := range map[*sleeper]float64{detect: share * min(30, capacities[detect]), depth: share * capacities[depth]} {
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
	slack := 4 // MiB, for what the tests before this one left to be collected
	if long >= time.Minute {
		slack = 0
	}
	if memory[3] > memory[1]*105/100+slack {
		t.Errorf("memory grew: %v MiB", memory)
	}
	if s := produce.Status.Statuses()[0]; s.Account.Check() != nil || len(s.Account.Dropped) > 0 {
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

// serviceConfigs are the defaults of both.
func serviceConfigs(t *testing.T) (fuse fuser.Config, produce producer.Config) {
	t.Helper()
	if err := service.Defaults(&fuse); err != nil {
		t.Fatal(err)
	}
	if err := service.Defaults(&produce); err != nil {
		t.Fatal(err)
	}
	produce.Drain = time.Second
	return fuse, produce
}

// Two fusers join as much of live sources as one does, and while the second takes over its partitions.
func TestTwoFusersJoinLive(t *testing.T) {
	r := newRig(t)
	detect, depth := &sleeper{group: flow.GroupDetect, work: 10 * time.Millisecond}, &sleeper{group: flow.GroupDepth, work: 20 * time.Millisecond}
	r.serve(detect)
	r.serve(depth)
	var sources []string // one of each partition
	fuse, produce := serviceConfigs(t)
	for i := 0; len(sources) < flow.DefaultPartitions; i++ {
		if name := fmt.Sprint("cam", i); flow.Partition(name, flow.DefaultPartitions) == len(sources) {
			sources = append(sources, name)
			produce.Sources = append(produce.Sources, name+"="+pictures(t, 60)+"#mode=live&fps=8&loop=true")
		}
	}
	var mu sync.Mutex
	complete := map[flow.FrameID]bool{}
	b := r.connect("viewer")
	scenes, err := b.Conn().Subscribe("scenes.live.>", func(msg *nats.Msg) {
		scene := new(flow.Scene)
		if err := flow.Decode(msg.Data, scene); err != nil {
			t.Error(err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if scene.Outcome == flow.OutcomeComplete && len(scene.Plan) == 2 {
			complete[scene.ID()] = true
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = scenes.Unsubscribe() }()
	runService(r, "producer", produce, producer.Run)
	runService(r, "fuser", fuse, fuser.Run)
	// joined is the share of depth's frames of so many seconds that became complete scenes.
	joined := func(seconds time.Duration) (share float64) {
		from := time.Now()
		time.Sleep(seconds)
		to := time.Now()
		time.Sleep(time.Second) // the last are being joined
		answered := depth.between(from, to)
		mu.Lock()
		defer mu.Unlock()
		for _, f := range answered {
			if complete[f.id] {
				share += 1 / float64(len(answered))
			}
		}
		t.Logf("%.3f of %d frames of depth", share, len(answered))
		return share
	}
	eventually(t, "scenes", func() bool { mu.Lock(); defer mu.Unlock(); return len(complete) > 5 })
	one := joined(4 * time.Second)
	runService(r, "fuser", fuse, fuser.Run)
	handover := joined(3 * time.Second)
	kv, err := b.JetStream().KeyValue(t.Context(), bus.OwnersBucket)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "both fusers own two partitions", func() bool {
		count := map[string]int{}
		for p := range flow.DefaultPartitions {
			if entry, err := kv.Get(t.Context(), fmt.Sprintf("partition.%d", p)); err == nil {
				count[string(entry.Value())]++
			}
		}
		return len(count) == 2 && slices.Max(slices.Collect(maps.Values(count))) == 2
	})
	two := joined(4 * time.Second)
	if one < .97 || two < one-.02 || handover < .5 {
		t.Errorf("joined %.3f with one fuser, %.3f while a second comes, %.3f with two", one, handover, two)
	}
}
