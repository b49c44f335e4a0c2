package producer_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/producer"
)

// TestLostDone never tells that a scene is stored: it is looked up.
func TestLostDone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	f := b.fuse(t, &fuser{lose: func(flow.FrameID) (bool, bool) { return false, true }})
	l := b.start(t, func(c *producer.Config) { c.Window, c.Silence = 8, 100*time.Millisecond }, "p="+pictures(t, 20))
	wantComplete(t, l.wait(), 20)
	f.wantSeqs("p", 20)
	l.stop()
}

// TestLaterDoneClosesEarlierFrames tells only every tenth frame; nothing is silent long enough to be looked up.
func TestLaterDoneClosesEarlierFrames(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.fuse(t, &fuser{lose: func(id flow.FrameID) (bool, bool) { return false, id.Seq%10 != 0 }})
	l := b.start(t, func(c *producer.Config) { c.Silence = time.Hour }, pictures(t, 40))
	wantComplete(t, l.wait(), 40)
	l.stop()
}

// TestEarlyDone answers every frame, in place of its stream, only well after its done was told. A done of another
// session comes before and means nothing.
func TestEarlyDone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	if err := b.bus.JetStream().DeleteStream(t.Context(), "FRAMES_LOSSLESS"); err != nil {
		t.Fatal(err)
	}
	sub, err := b.bus.Conn().Subscribe("frames.>", func(msg *nats.Msg) {
		var frame flow.Frame
		scene := flow.Scene{Version: flow.Wire, Mode: flow.ModeLossless, Outcome: flow.OutcomeComplete}
		err := flow.Decode(msg.Data, &frame)
		scene.Source, scene.Session, scene.Seq, scene.Plan, scene.Partition = frame.Source, frame.Session, frame.Seq, frame.Plan, frame.Partition
		other := flow.Done{Version: flow.Wire, Session: "other", Seq: frame.Seq, Outcome: flow.OutcomeError}
		own := flow.Done{Version: flow.Wire, Session: frame.Session, Seq: frame.Seq, Outcome: flow.OutcomeComplete}
		if stored := b.bus.PublishScene(t.Context(), &scene); !errors.Is(stored, bus.ErrStored) { // the answer to the first try was late
			err = errors.Join(err, stored)
		}
		err = errors.Join(err, b.bus.PublishDone("fuser", frame.Source, other), b.bus.PublishDone("fuser", frame.Source, own), b.bus.Conn().Flush())
		time.Sleep(5 * time.Millisecond)
		if err = errors.Join(err, msg.Respond([]byte(`{"stream":"FRAMES_LOSSLESS","seq":1}`))); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := b.bus.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	l := b.start(t, func(c *producer.Config) { c.Silence = time.Hour }, "p="+pictures(t, 10))
	s := l.wait()
	wantComplete(t, s, 10)
	if s[0].Account.Complete != 10 {
		t.Errorf("account %+v", s[0].Account)
	}
	l.stop()
}

// TestLostScene loses one scene for good: the source never completes, and the account says so.
func TestLostScene(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.fuse(t, &fuser{lose: func(id flow.FrameID) (bool, bool) { return id.Seq == 6, false }})
	l := b.start(t, func(c *producer.Config) { c.Silence, c.Drain = 50*time.Millisecond, 300*time.Millisecond }, pictures(t, 6))
	until(t, "the other scenes are seen", func() bool { return l.status().Account.Complete == 5 })
	select {
	case <-l.board.AllDone():
		t.Error("done without the scene of frame 6")
	case <-time.After(700 * time.Millisecond): // an event that must not happen has no other sign
	}
	s := l.stop()[0]
	if err := s.Account.CheckAtRest(); !errors.Is(err, flow.ErrAccount) || s.Account.InFlight != 1 || s.Account.Complete != 5 {
		t.Errorf("account %+v: %v", s.Account, err)
	}
	if err := s.Account.Check(); err != nil {
		t.Error(err)
	}
}

// TestFullStream meets the guard of FRAMES and goes on when there is room.
func TestFullStream(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	deployment := flow.DefaultDeployment()
	deployment.Limits.GuardBytes = 4 << 10
	if err := b.bus.Provision(t.Context(), deployment); err != nil {
		t.Fatal(err)
	}
	f := b.fuse(t, &fuser{})
	l := b.start(t, func(c *producer.Config) { c.StoreTimeout = 100 * time.Millisecond }, "p="+pictures(t, 12))
	until(t, "a frame fits below the guard", func() bool { frames, _ := f.accepted("p"); return len(frames) > 0 })
	time.Sleep(300 * time.Millisecond) // an event that must not happen has no other sign
	if frames, _ := f.accepted("p"); len(frames) == 12 {
		t.Fatal("all frames fit below the guard")
	}
	if err := b.bus.Provision(t.Context(), flow.DefaultDeployment()); err != nil {
		t.Fatal(err)
	}
	wantComplete(t, l.wait(), 12)
	f.wantSeqs("p", 12)
	l.stop()
}

func TestStoreTimeout(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	if err := b.bus.JetStream().DeleteStream(t.Context(), "FRAMES_LOSSLESS"); err != nil {
		t.Fatal(err)
	}
	l := b.start(t, func(c *producer.Config) { c.StoreTimeout = 200 * time.Millisecond }, pictures(t, 2))
	s := l.wait()[0]
	if s.State != flow.StateFailed || !strings.Contains(s.Reason, producer.ErrStore.Error()) || s.Account.InFlight != 1 {
		t.Errorf("%+v", s)
	}
	l.stop()
}
