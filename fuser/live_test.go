package fuser_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
)

// liveScenes are the live scenes of cam1 as they are stored, and what the fuser says of their frames.
type liveScenes struct {
	t      *testing.T
	scenes *nats.Subscription
	dones  *nats.Subscription
}

func (b bench) watchLive(t *testing.T) *liveScenes {
	t.Helper()
	return b.watchLiveOf(t, "cam1")
}

func (b bench) watchLiveOf(t *testing.T, source string) *liveScenes {
	t.Helper()
	l := &liveScenes{t: t}
	for subject, to := range map[string]**nats.Subscription{"scenes.live.*." + source: &l.scenes, "done.fuser." + source: &l.dones} {
		s, err := b.bus.Conn().SubscribeSync(subject)
		if err != nil {
			t.Fatal(err)
		}
		*to = s
	}
	return l
}

func (l *liveScenes) next() *flow.Scene {
	l.t.Helper()
	msg, err := l.scenes.NextMsg(patience)
	if err != nil {
		l.t.Fatalf("no scene: %v", err)
	}
	scene := new(flow.Scene)
	if err := flow.Decode(msg.Data, scene); err != nil || scene.Validate() != nil || scene.Mode != flow.ModeLive {
		l.t.Fatalf("%v, %v: %+v", err, scene.Validate(), scene)
	}
	return scene
}

// shows says whether a frame's scene comes. An earlier one may come again: its store is tried again when it is not answered soon.
// A machine that stands still for seconds has none of the frame, as it is meant: the scene is not stored within its time, or the
// result is delivered again, to the next owner of the partition, and is stale.
func (l *liveScenes) shows(seq uint64) bool {
	l.t.Helper()
	for {
		msg, err := l.scenes.NextMsg(5 * time.Second)
		if err != nil {
			return false
		}
		scene := new(flow.Scene)
		if err := errors.Join(flow.Decode(msg.Data, scene), scene.Validate()); err != nil || scene.Seq > seq {
			l.t.Fatalf("after frame %d: %v: %+v", seq, err, scene)
		}
		if scene.Seq == seq {
			return true
		}
	}
}

func (l *liveScenes) wantDone(seq uint64, outcome flow.Outcome, reason string) {
	l.t.Helper()
	msg, err := l.dones.NextMsg(patience)
	if err != nil {
		l.t.Fatalf("no done: %v", err)
	}
	var done flow.Done
	if err := flow.Decode(msg.Data, &done); err != nil || done.Seq != seq || done.Outcome != outcome || done.Reason != reason {
		l.t.Fatalf("done %+v, %v; want seq %d, %s %s", done, err, seq, outcome, reason)
	}
}

// now is a live result of cam1, of one box or a map, captured seq tenths of a second after the first.
func now(t *testing.T, group string, seq uint64, plan ...string) *flow.Result {
	t.Helper()
	r := live(group, "cam1", seq, 20*time.Millisecond)
	if group == flow.GroupDepth {
		r.Depth = ramp(t, 32, 24, depthmap.InverseRelative, [4]int{12, 8, 20, 16}, 25)
	} else {
		r.Detections = []flow.Detection{{Label: "person", Score: 0.9, Box: [4]float32{16, 8, 48, 40}}}
	}
	r.Plan, r.Captured = plan, time.Unix(1_700_000_000, 0).Add(time.Duration(seq)*100*time.Millisecond).UnixNano()
	return r
}

// acked waits until the fuser has acked all live results of a group.
func (b bench) acked(t *testing.T, group string) {
	t.Helper()
	stream, err := b.bus.JetStream().Stream(t.Context(), "RESULTS_"+strings.ToUpper(group)+"_LIVE")
	if err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); stream.CachedInfo().State.Msgs > 0; time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatalf("%d results of %s are never acked", stream.CachedInfo().State.Msgs, group)
		}
		if _, err := stream.Info(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLiveScenes(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	f := b.startFuser(t)
	defer f.stop()
	watch := b.watchLive(t)
	both := []string{flow.GroupDetect, flow.GroupDepth}

	// Complete: nearness is the frame's own.
	b.publish(t, now(t, flow.GroupDetect, 1, both...))
	b.publish(t, now(t, flow.GroupDepth, 1, both...))
	first := watch.next()
	if first.Seq != 1 || first.Outcome != flow.OutcomeComplete || first.Depth == nil || first.Held != nil || first.Detections[0].Depth == nil {
		t.Fatalf("frame 1: %+v", first)
	}
	watch.wantDone(1, flow.OutcomeComplete, "")

	// A plan without depth: nearness is lent by frame 1, three tenths of a second older.
	b.publish(t, now(t, flow.GroupDetect, 4, flow.GroupDetect))
	lent := watch.next()
	if lent.Outcome != flow.OutcomeComplete || lent.Depth != nil || lent.Held == nil || *lent.Held != (flow.Held{Seq: 1, Age: 300 * time.Millisecond}) {
		t.Fatalf("frame 4: %+v, held %+v", lent, lent.Held)
	}
	if got, want := lent.Detections[0].Depth, first.Detections[0].Depth; got == nil || *got != *want {
		t.Errorf("the same box in the same map: %+v, before %+v", got, want)
	}
	watch.wantDone(4, flow.OutcomeComplete, "")

	// Too old to lend.
	b.publish(t, now(t, flow.GroupDetect, 40, flow.GroupDetect))
	if old := watch.next(); old.Held != nil || old.Detections[0].Depth != nil {
		t.Errorf("a map of almost 4 s ago is lent: %+v", old.Held)
	}
	watch.wantDone(40, flow.OutcomeComplete, "")

	// At the deadline (both groups take 20 ms: half a second) without depth, and the late map is lent to the next.
	begin := time.Now()
	b.publish(t, now(t, flow.GroupDetect, 41, both...))
	partial := watch.next()
	if took := time.Since(begin); partial.Seq != 41 || partial.Outcome != flow.OutcomePartial || !slices.Equal(partial.Missing, []string{flow.GroupDepth}) || took < 450*time.Millisecond {
		t.Fatalf("after %v: %+v", took, partial)
	}
	watch.wantDone(41, flow.OutcomePartial, "")
	b.publish(t, now(t, flow.GroupDepth, 41, both...))
	b.acked(t, flow.GroupDepth) // groups have streams of their own: what is published later may come earlier
	b.publish(t, now(t, flow.GroupDetect, 42, flow.GroupDetect))
	if after := watch.next(); after.Held == nil || after.Held.Seq != 41 {
		t.Errorf("frame 42 is lent %+v, want the map that came late", after.Held)
	}
	watch.wantDone(42, flow.OutcomeComplete, "")

	// Dropped by one: partial, without waiting. Dropped by all: no scene, but an end.
	dropped := func(group string, seq uint64) *flow.Result {
		r := now(t, group, seq, both...)
		r.Dropped, r.Detections, r.Depth = flow.DroppedExpired, nil, nil
		return r
	}
	b.publish(t, now(t, flow.GroupDetect, 43, both...))
	b.publish(t, dropped(flow.GroupDepth, 43))
	if s := watch.next(); s.Seq != 43 || s.Outcome != flow.OutcomePartial {
		t.Errorf("frame 43: %+v", s)
	}
	watch.wantDone(43, flow.OutcomePartial, "")
	b.publish(t, dropped(flow.GroupDetect, 44))
	b.publish(t, dropped(flow.GroupDepth, 44))
	watch.wantDone(44, flow.OutcomeDropped, flow.DroppedExpired)

	// Once more what has gone out already: nothing.
	b.publish(t, now(t, flow.GroupDetect, 42, flow.GroupDetect))
	b.publish(t, now(t, flow.GroupDetect, 45, flow.GroupDetect))
	if s := watch.next(); s.Seq != 45 {
		t.Errorf("frame %d again", s.Seq)
	}
	for _, group := range both {
		b.acked(t, group)
	}
	late, err := testutil.GatherAndCount(f.metrics, "spatialflow_late_total")
	if err != nil || late == 0 {
		t.Errorf("late results are not counted: %d, %v", late, err)
	}
}

// However a producer's clock is set, its frames have scenes: how long results waited is told by their stream's clock.
func TestLiveProducersClockIsSet(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	f := b.startFuser(t)
	defer f.stop()
	watch := b.watchLive(t)
	for seq := uint64(1); seq <= 6; seq++ {
		r := now(t, flow.GroupDetect, seq, flow.GroupDetect)
		r.Captured -= int64(seq/3) * (3 * time.Hour).Nanoseconds()
		b.publish(t, r)
		if s := watch.next(); s.Seq != seq {
			t.Fatalf("frame %d, want %d", s.Seq, seq)
		}
	}
}

// A killed fuser's frames are delivered again, too late to be shown: no scene comes twice, and none of long ago.
func TestLiveFuserKilled(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	f := b.startFuser(t)
	watch := b.watchLive(t)
	both := []string{flow.GroupDetect, flow.GroupDepth}
	b.publish(t, now(t, flow.GroupDetect, 1, both...))
	b.publish(t, now(t, flow.GroupDepth, 1, both...))
	watch.next()
	b.publish(t, now(t, flow.GroupDetect, 2, both...))
	time.Sleep(100 * time.Millisecond) // it holds frame 2 now
	f.kill()
	f = b.startFuser(t)
	defer f.stop()
	b.publish(t, now(t, flow.GroupDetect, 3, flow.GroupDetect))
	if s := watch.next(); s.Seq != 3 {
		t.Fatalf("after the kill frame %d, want 3", s.Seq)
	}
	time.Sleep(4 * time.Second) // past AckWait
	b.publish(t, now(t, flow.GroupDetect, 50, flow.GroupDetect))
	if s := watch.next(); s.Seq != 50 {
		t.Errorf("frame %d came back from before the kill", s.Seq)
	}
}
