package standalone

import (
	"context"
	"fmt"
	"maps"
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
	server, err := natsserver.Start(t.TempDir(), "", "", quiet)
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
		Version: f.Version, Partition: f.Partition, Copy: f.Copy, Group: s.group, Source: f.Source, Session: f.Session, Seq: f.Seq, Mode: f.Mode, Captured: f.Captured,
		Sent: time.Now().UnixNano(), Width: f.Width, Height: f.Height, Plan: f.Plan, Budget: f.Budget,
		Ledger: append(f.Ledger, flow.Hop{Stage: s.group, Wait: max(wait, 0), Work: work}),
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := b.PublishResult(ctx, result); err != nil {
		return // the test is over
	}
	_ = b.PublishDone(s.group, f.Source, flow.Done{Version: f.Version, Session: f.Session, Seq: f.Seq, Wait: max(wait, 0), Work: work, Outcome: flow.OutcomeComplete})
	_ = msg.Ack()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.done = append(s.done, finished{now, now.Sub(time.Unix(0, f.Captured)), f.ID(), f.Plan})
}

// all returns what was finished so far.
func (s *sleeper) all() []finished {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.done)
}

// Live at 30 frames a second with a depth group that takes 200 ms and a detection group that takes 50 ms for a frame: each
// works; on a machine with nothing else to do, detection more than depth, all that depth does is joined, and nothing is dropped
// that was admitted.
func TestLiveSlowGroupIsJoined(t *testing.T) {
	t.Parallel()
	detect, depth := &sleeper{group: flow.GroupDetect, work: 50 * time.Millisecond}, &sleeper{group: flow.GroupDepth, work: 200 * time.Millisecond}
	r, board := newLiveRig(t, detect, depth)
	eventually(t, "depth works", func() bool { return len(depth.all()) > 3 })
	eventually(t, "both are known to be alive", func() bool { return slices.Contains(depth.all()[len(depth.all())-1].plan, flow.GroupDetect) })
	from, before := len(depth.all()), len(detect.all())
	const frames = 20
	eventually(t, "depth has done 20 frames more", func() bool { return len(depth.all()) >= from+frames })
	n := len(detect.all()) - before
	joined := 0
	for _, f := range depth.all()[from : from+frames] {
		if slices.Contains(f.plan, flow.GroupDetect) {
			joined++
		}
	}
	least, more := frames/2, frames/2 // on a machine that has much else to do, pictures may come slower than either group works
	if long {
		least, more = frames-1, frames+1
	}
	if joined < least || n < more {
		t.Errorf("of %d frames of depth %d are detection's too, which has done %d; want %d and %d", frames, joined, n, least, more)
	}
	r.stop()
	if s := board.Statuses()[0]; s.Account.Check() != nil || long && len(s.Account.Dropped) > 0 {
		t.Errorf("account %+v: %v", s.Account, s.Account.Check())
	}
}

// newLiveRig runs a live source of 30 pictures a second, a fuser and the groups.
func newLiveRig(t *testing.T, groups ...*sleeper) (*rig, *producer.Board) {
	t.Helper()
	r := newRig(t)
	fuse, produce := serviceConfigs(t)
	board := producer.NewBoard()
	produce.Sources, produce.Status = []string{"cam=" + pictures(t, 300) + "#mode=live&fps=30&loop=true"}, board
	for _, s := range groups {
		r.serve(s)
	}
	runService(r, "fuser", fuse, fuser.Run)
	runService(r, "producer", produce, producer.Run)
	return r, board
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
	t.Parallel()
	r := newRig(t)
	detect, depth := &sleeper{group: flow.GroupDetect, work: 10 * time.Millisecond}, &sleeper{group: flow.GroupDepth, work: 20 * time.Millisecond}
	r.serve(detect)
	r.serve(depth)
	partitions := map[int]bool{} // each source is in another
	fuse, produce := serviceConfigs(t)
	for i := 0; len(partitions) < 4; i++ {
		name := fmt.Sprint("cam", i)
		if p := flow.Partition(name, flow.DefaultPartitions); !partitions[p] {
			partitions[p] = true
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
	// joined is the share of depth's next frames that become complete scenes.
	joined := func(frames int) (share float64) {
		from := len(depth.all())
		eventually(t, fmt.Sprintf("depth has done %d frames more", frames), func() bool { return len(depth.all()) >= from+frames })
		answered := depth.all()[from : from+frames]
		for wait := time.Now().Add(5 * time.Second); share < 1 && time.Now().Before(wait); time.Sleep(10 * time.Millisecond) { // the last are being joined
			mu.Lock()
			n := 0
			for _, f := range answered {
				if complete[f.id] {
					n++
				}
			}
			mu.Unlock()
			share = float64(n) / float64(frames)
		}
		t.Logf("%.3f of %d frames of depth", share, frames)
		return share
	}
	eventually(t, "scenes", func() bool { mu.Lock(); defer mu.Unlock(); return len(complete) > 5 })
	least, less, between, tries := .5, .3, .01, 5 // on a machine that has much else to do, a scene may miss its deadline
	if long {
		least, less, between, tries = .97, .02, .5, 1
	}
	atLeast := func(least float64) (share float64) {
		for try := 0; try < tries && share < least; try++ {
			share = joined(100)
		}
		return share
	}
	one := atLeast(least)
	runService(r, "fuser", fuse, fuser.Run)
	handover := joined(80)
	kv, err := b.JetStream().KeyValue(t.Context(), bus.OwnersBucket)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "both fusers own half of the partitions", func() bool {
		count := map[string]int{}
		for p := range flow.DefaultPartitions {
			if entry, err := kv.Get(t.Context(), fmt.Sprintf("partition.%d", p)); err == nil {
				count[string(entry.Value())]++
			}
		}
		return len(count) == 2 && slices.Max(slices.Collect(maps.Values(count))) == flow.DefaultPartitions/2
	})
	two := atLeast(one - less)
	if one < least || two < one-less || handover < between {
		t.Errorf("joined %.3f with one fuser, %.3f while a second comes, %.3f with two", one, handover, two)
	}
}
