package producer_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/natsserver/natstest"
	"github.com/spatial-flow/spatial-flow/producer"
	"github.com/spatial-flow/spatial-flow/producer/owner"
)

// A run whose producer dies is carried on by the one that stands by: each frame is stored once, and the one that stands by after
// its end knows that there is nothing left to do.
func TestStandbyCarriesOn(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	half := make(chan struct{})
	f := b.fuse(t, &fuser{ordered: true, burst: 20 * time.Millisecond, lose: func(id flow.FrameID) (bool, bool) {
		if id.Seq == 20 {
			close(half)
		}
		return false, false
	}})
	run := func(c *producer.Config) { quick(c); c.Run = "night" }
	path := "p=" + pictures(t, 60)
	first := b.start(t, run, path)
	<-half
	second := b.start(t, run, path)
	until(t, "the second stands by", func() bool { return strings.HasPrefix(second.status().Reason, "standing by") })
	third := b.start(t, run, path)
	first.bus.Close() // it is gone, and its lease ends
	s := second.wait()[0]
	thirds := third.wait()[0]
	if s.Account.Admitted == 0 {
		s, thirds = thirds, s // the third was quicker
	}
	if s.State != flow.StateComplete || s.Resumed < 16 || s.Resumed+s.Account.Admitted != 60 {
		t.Errorf("who carried on: %+v", s)
	}
	if thirds.State != flow.StateComplete || thirds.Account.Admitted != 0 || thirds.Account.Captured != 0 {
		t.Errorf("who stood by until the end: %+v", thirds)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last["night"] != 60 {
		t.Errorf("the last scene is that of frame %d", f.last["night"])
	}
	if err := s.Account.CheckAtRest(); err != nil {
		t.Error(err)
	}
}

// Two producers with the same cameras: each camera is one's, and what one is stopped with the other takes.
func TestCamerasAreShared(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.serve(t, &group{name: "detect"}, &group{name: "depth"})
	streets := []string{"a=street:?size=64x64&fps=10", "b=street:?size=64x64&fps=10"}
	first := b.start(t, nil, streets...)
	second := b.start(t, nil, streets...)
	carries := func(l *life) (n int) {
		<-l.board.Named()
		for _, s := range l.board.Statuses() {
			if s.State == flow.StateRunning && s.Reason == "" && s.Account.Admitted > 0 {
				n++
			}
		}
		return n
	}
	until(t, "each has one", func() bool { return carries(first) == 1 && carries(second) == 1 })
	for _, s := range first.stop() {
		if err := s.Account.CheckAtRest(); err != nil || s.State != flow.StateStopped {
			t.Errorf("%+v: %v", s, err)
		}
	}
	until(t, "the second has both", func() bool { return carries(second) == 2 })
	second.stop()
}

// --takeover=never refuses a name that another producer has, and says whose it is.
func TestTakeoverNever(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.serve(t, &group{name: "detect"}, &group{name: "depth"})
	first := b.start(t, nil, "a=street:?size=64x64&fps=10")
	until(t, "the first has it", func() bool { return first.status().Account.Admitted > 0 })
	second := b.start(t, func(c *producer.Config) { c.Takeover = "never" }, "a=street:?size=64x64&fps=10")
	if s := second.wait()[0]; s.State != flow.StateFailed || !strings.HasPrefix(s.Reason, producer.ErrTaken.Error()+": by ") {
		t.Errorf("the second: %+v", s)
	}
	first.stop()
	second.stop()
}

// A producer that is held still has no name any more when it wakes: another has taken its camera, and it admits nothing, neither
// what it had in hand nor what it reads before it knows.
func TestWokenProducerAdmitsNothing(t *testing.T) {
	t.Parallel()
	cluster := natstest.Start(t, natstest.Options{Servers: 1})
	b := bench{connect: func() (*bus.Bus, error) { return cluster.Connect(t, "producer"), nil }, bus: cluster.Connect(t, "test")}
	until(t, "it is provisioned", func() bool { return b.bus.Provision(t.Context(), flow.DefaultDeployment()) == nil })
	b.serve(t, &group{name: "detect"}, &group{name: "depth"})
	var mu sync.Mutex
	sessions := map[string]int{} // frames
	sub, err := b.bus.Conn().Subscribe("accepted.live.>", func(msg *nats.Msg) {
		var f flow.Frame
		if err := flow.Decode(msg.Data, &f); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		sessions[f.Session]++
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	frames := func() map[string]int {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(sessions)
	}
	const camera = "cam=street:?size=64x64&fps=30"
	process := exec.Command(os.Args[0], "--nats", cluster.URL(), "--admin", "", "--source", camera)
	process.Env = append(os.Environ(), asProgram+"=1")
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = process.Process.Kill(); _ = process.Wait() }()
	until(t, "the process publishes", func() bool { return len(frames()) == 1 })
	its := slices.Collect(maps.Keys(frames()))[0]
	second := b.start(t, nil, camera)
	until(t, "the second stands by", func() bool { return strings.HasPrefix(second.status().Reason, "standing by: ") })
	if err := process.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	until(t, "the second publishes", func() bool { return len(frames()) > 1 })
	before := frames()[its]
	if err := process.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	others := func() (n int) { // on a busy machine the name may go to and fro, each time with a session of its own
		for session, count := range frames() {
			if session != its {
				n += count
			}
		}
		return n
	}
	from := others()
	until(t, "the name's owners have published for long", func() bool { return others() > from+90 })
	if n := frames()[its]; n != before {
		t.Errorf("session %s of the woken one has %d frames, %d before it slept", its, n, before)
	}
	second.stop()
}

// A run that ended is carried on when its source has more frames: by who stands by as well, after a death in the middle.
func TestLongerSourceIsCarriedOn(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	half := make(chan struct{})
	b.fuse(t, &fuser{ordered: true, lose: func(id flow.FrameID) (bool, bool) {
		if id.Seq == 20 {
			close(half)
		}
		return id.Seq > 20, false
	}})
	path := "p=" + pictures(t, 40)
	run := func(frames uint64) func(*producer.Config) {
		return func(c *producer.Config) { quick(c); c.Run, c.Frames = "night", frames }
	}
	short := b.start(t, run(10), path)
	wantComplete(t, short.wait(), 10)
	short.stop()
	again := b.start(t, run(10), path)
	if s := again.wait()[0]; s.State != flow.StateComplete || s.Resumed != 10 || s.Account.Admitted != 0 {
		t.Errorf("what has ended: %+v", s)
	}
	again.stop()

	first := b.start(t, run(0), path)
	<-half
	second := b.start(t, run(0), path)
	until(t, "the second stands by", func() bool { return strings.HasPrefix(second.status().Reason, "standing by") })
	first.bus.Close()
	until(t, "the second carries it on", func() bool {
		s := second.status()
		return s.State != flow.StateRunning || s.Account.Admitted > 0
	})
	if s := second.status(); s.State != flow.StateRunning {
		t.Errorf("the second takes frame 20 of 40 for the end: %+v", s)
	}
}

// A live source that ends is played once by those who are given the same sources, however many they are; a producer that begins
// later plays it anew.
func TestLiveSourceIsPlayedOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.serve(t, &group{name: "detect"}, &group{name: "depth"})
	const street = "a=street:?size=64x64&fps=10"
	short := func(c *producer.Config) { c.Frames = 20 }
	for range 2 {
		first := b.start(t, short, street)
		until(t, "the first has it", func() bool { return first.status().Account.Captured > 0 })
		second := b.start(t, short, street)
		until(t, "the second stands by", func() bool { return strings.HasPrefix(second.status().Reason, "standing by") })
		if s := first.wait()[0]; s.State != flow.StateComplete || s.Account.Captured == 0 { // on a busy machine pictures are passed over
			t.Errorf("the first: %+v", s)
		}
		if s := second.wait()[0]; s.State != flow.StateComplete || s.Account.Captured != 0 {
			t.Errorf("the second: %+v", s)
		}
		first.stop()
		second.stop()
	}
}

// Who stood by for a live source plays it when NATS does not say whether it has been played meanwhile.
func TestUnknownEndIsPlayed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.serve(t, &group{name: "detect"}, &group{name: "depth"})
	if err := b.bus.SetEnded(t.Context(), "a", "live-"+owner.List([]string{"a"}), 20); err != nil {
		t.Fatal(err)
	}
	lease, err := b.bus.Lease(t.Context(), owner.LeaseName("a"), "other")
	if err != nil {
		t.Fatal(err)
	}
	keeping, stop := context.WithCancel(t.Context())
	kept := make(chan error, 1)
	go func() { kept <- lease.Keep(keeping) }()
	l := b.start(t, func(c *producer.Config) { c.Frames = 20 }, "a=street:?size=64x64&fps=10")
	until(t, "it stands by", func() bool { return strings.HasPrefix(l.status().Reason, "standing by") })
	if err := b.bus.JetStream().DeleteKeyValue(t.Context(), bus.PositionsBucket); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := errors.Join(<-kept, lease.Release(t.Context())); err != nil {
		t.Fatal(err)
	}
	if s := l.wait()[0]; s.State != flow.StateComplete || s.Account.Captured == 0 {
		t.Errorf("it was not played: %+v", s)
	}
	l.stop()
}
