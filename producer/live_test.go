package producer_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/producer"
)

// group is a worker group of the test: one worker that takes so long for a frame, and says that it is alive.
type group struct {
	name string
	work time.Duration
	mute bool // it takes frames and tells nobody

	mu    sync.Mutex
	plans map[flow.FrameID][]string // of the frames that it finished
}

// serve runs the groups, and a fuser that closes a frame when every group of its plan is done.
func (b bench) serve(t *testing.T, groups ...*group) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var tasks sync.WaitGroup
	t.Cleanup(func() { cancel(); tasks.Wait() })
	fuser := &closer{left: map[flow.FrameID]int{}}
	for _, g := range groups {
		g.plans = map[flow.FrameID][]string{}
		messages, err := b.bus.TakeFrames(t.Context(), g.name, flow.ModeLive, 1)
		if err != nil {
			t.Fatal(err)
		}
		tasks.Go(func() { b.work(ctx, t, g, messages, fuser) })
		tasks.Go(func() {
			for clock.Sleep(ctx, 200*time.Millisecond) {
				if err := b.bus.PublishAlive(flow.Alive{Stage: g.name, Instance: "test", Parallel: 1}); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// closer counts the groups that a frame still waits for.
type closer struct {
	mu   sync.Mutex
	left map[flow.FrameID]int
}

func (c *closer) last(f *flow.Frame) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.left[f.ID()]; !known {
		c.left[f.ID()] = len(f.Plan)
	}
	c.left[f.ID()]--
	return c.left[f.ID()] == 0
}

func (b bench) work(ctx context.Context, t *testing.T, g *group, messages bus.Messages, fuser *closer) {
	defer messages.Stop()
	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return
		}
		var f flow.Frame
		if err := errors.Join(flow.Decode(msg.Data(), &f), f.Validate()); err != nil {
			t.Error(err)
			return
		}
		meta, err := msg.Metadata()
		if err != nil {
			t.Error(err)
			return
		}
		time.Sleep(g.work)
		if err := msg.Ack(); err != nil {
			t.Error(err)
		}
		if g.mute {
			continue
		}
		g.mu.Lock()
		g.plans[f.ID()] = f.Plan
		g.mu.Unlock()
		done := flow.Done{Version: 1, Session: f.Session, Seq: f.Seq, Work: g.work, Outcome: flow.OutcomeComplete, Queue: meta.NumPending + 1}
		if err := b.bus.PublishDone(g.name, f.Source, done); err != nil {
			t.Error(err)
		}
		if fuser.last(&f) {
			if err := b.bus.PublishDone("fuser", f.Source, done); err != nil {
				t.Error(err)
			}
		}
	}
}

func (g *group) done() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.plans)
}

// A fast and a slow group each work as much as they can; the slow one's frames are among the fast one's; nothing is
// lost or counted twice.
func TestLiveKeepsGroupsBusy(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	detect, depth := &group{name: "detect", work: 20 * time.Millisecond}, &group{name: "depth", work: 100 * time.Millisecond}
	b.serve(t, detect, depth)
	film := movie(t, 400, 64, 48) // a street would want the CPU that the race detector has
	l := b.start(t, nil, "one="+film+"#mode=live&fps=100&loop=true", "two="+film+"#mode=live&fps=100&loop=true")
	begin := time.Now()
	for depth.done() < 25 {
		if time.Since(begin) > patience {
			t.Fatalf("in %v depth has done %d frames, detect %d", patience, depth.done(), detect.done())
		}
		time.Sleep(10 * time.Millisecond)
	}
	summaries := l.stop()
	if n := depth.done(); n > detect.done() {
		t.Errorf("detect, which is five times as fast, has done %d frames, depth %d", detect.done(), n)
	}
	var ofSource [2]int
	for id, plan := range depth.plans {
		if !slices.Equal(plan, []string{"detect", "depth"}) {
			t.Errorf("frame %s of depth has the plan %v: detect leads", id, plan)
		}
		if id.Source == "two" {
			ofSource[1]++
		} else {
			ofSource[0]++
		}
	}
	if low, high := min(ofSource[0], ofSource[1]), max(ofSource[0], ofSource[1]); low*4 < high {
		t.Errorf("depth has had %v frames of the two sources", ofSource)
	}
	for _, s := range summaries {
		if err := s.Account.CheckAtRest(); err != nil {
			t.Error(err)
		}
		if s.State != flow.StateStopped || s.Account.Skipped["overtaken"] == 0 || s.Account.Complete == 0 {
			t.Errorf("%s: %+v", s.Source, s)
		}
	}
}

// A group that never answers leads no longer once its credit has expired, and its frames leave the account as dropped.
func TestLiveSilentGroup(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	detect, depth := &group{name: "detect", mute: true}, &group{name: "depth", work: 10 * time.Millisecond}
	b.serve(t, detect, depth)
	l := b.start(t, func(c *producer.Config) { c.Drain = time.Millisecond }, "street:?size=64x64&fps=60")
	begin := time.Now()
	for depth.done() < 50 {
		if time.Since(begin) > patience {
			t.Fatalf("depth has done %d frames while detect is silent", depth.done())
		}
		time.Sleep(10 * time.Millisecond)
	}
	s := l.stop()[0]
	if err := s.Account.Check(); err != nil {
		t.Error(err)
	}
	if s.Account.InFlight == 0 {
		t.Error("frames that detect never answered for are not in flight, and not expired yet either")
	}
}

// A file in live mode goes at its pace, begins again, and each time is a session of its own.
func TestLiveFile(t *testing.T) { // alone: a file that is late passes pictures over
	b := newBench(t)
	detect, depth := &group{name: "detect"}, &group{name: "depth"}
	b.serve(t, detect, depth)
	l := b.start(t, func(c *producer.Config) { c.Frames = 25 }, "clip="+movie(t, 10, 64, 48)+"#mode=live&fps=50&loop=true")
	begin := time.Now()
	s := l.wait()[0]
	if took := time.Since(begin); took < 24*20*time.Millisecond {
		t.Errorf("25 pictures at 50 a second took %v", took)
	}
	if s.State != flow.StateComplete || s.Account.Captured != 25 || s.Mode != flow.ModeLive {
		t.Errorf("%+v", s)
	}
	if err := s.Account.CheckAtRest(); err != nil {
		t.Error(err)
	}
	sessions := map[string]uint64{}
	for id := range detect.plans {
		sessions[id.Session] = max(sessions[id.Session], id.Seq)
	}
	if len(sessions) < 3 { // more when it was late, and passed pictures over
		t.Errorf("25 pictures of a video of 10 came in the sessions %v, want 3 at least", sessions)
	}
	l.stop()
}

// While NATS is away frames are dropped, and counted, and then it goes on.
func TestLiveOutage(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	detect, depth := &group{name: "detect"}, &group{name: "depth"}
	b.serve(t, detect, depth)
	l := b.start(t, nil, "street:?size=64x64&fps=60")
	<-l.board.Named()
	until := func(what string, so func(flow.Account) bool) {
		t.Helper()
		for begin := time.Now(); !so(l.board.Statuses()[0].Account); time.Sleep(5 * time.Millisecond) {
			if time.Since(begin) > patience {
				t.Fatalf("never: %s; %+v", what, l.board.Statuses())
			}
		}
	}
	until("a frame is complete", func(a flow.Account) bool { return a.Complete > 0 })
	stream, err := b.bus.JetStream().Stream(t.Context(), "FRAMES_LIVE")
	if err != nil {
		t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	closed := config
	closed.MaxMsgSize = 16 // nothing fits
	if _, err := b.bus.JetStream().UpdateStream(t.Context(), closed); err != nil {
		t.Fatal(err)
	}
	until("frames are dropped", func(a flow.Account) bool { return a.Dropped["publish"] > 2 })
	if _, err := b.bus.JetStream().UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	complete := l.board.Statuses()[0].Account.Complete
	until("it goes on", func(a flow.Account) bool { return a.Complete > complete+5 })
	if err := l.stop()[0].Account.CheckAtRest(); err != nil {
		t.Error(err)
	}
}

// A source that was at its end when a stop came is complete, be it that its last frames were under way.
func TestLiveStoppedAtItsEnd(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.serve(t, &group{name: "detect", mute: true}, &group{name: "depth", mute: true})
	l := b.start(t, func(c *producer.Config) { c.Frames, c.Drain = 3, time.Second }, "street:?size=64x64&fps=20")
	for begin := time.Now(); ; time.Sleep(time.Millisecond) {
		all := l.board.Statuses() // a source that is late passes pictures over
		if len(all) == 1 && (all[0].Account.Captured == 3 || all[0].Account.Skipped["ended"] > 0 || all[0].State != flow.StateRunning) {
			break
		}
		if time.Since(begin) > patience {
			t.Fatalf("%+v", l.board.Summaries())
		}
	}
	if s := l.stop()[0]; s.State != flow.StateComplete {
		t.Errorf("%s, account %+v", s.State, s.Account)
	}
}
