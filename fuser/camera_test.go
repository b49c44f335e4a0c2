package fuser_test

import (
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
)

// A camera that begins a new session is the same camera: range and map are kept. Two sessions that alternate, as of two
// producers that contend for a name, don't take each other's.
func TestCameraOverSessions(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	defer b.startFuser(t).stop()
	watch := b.watchLive(t)
	of := func(session string, r *flow.Result) *flow.Result { r.Session = session; return r }
	deep := func(session string, seq uint64, at int, offset float32) *flow.Scene {
		t.Helper()
		r := of(session, now(t, flow.GroupDepth, seq, flow.GroupDepth))
		r.Depth = ramp(t, 32, 24, depthmap.InverseRelative, [4]int{}, 0)
		r.Depth.Offset += offset
		r.Captured = int64(at) * int64(100*time.Millisecond)
		b.publish(t, r)
		s := watch.next()
		watch.wantDone(seq, flow.OutcomeComplete, "")
		return s
	}
	first := deep("a", 1, 1, 0).Range
	// The new session goes on from the range: a twentieth of the way.
	began := deep("b", 1, 2, 1000).Range
	if moved := began.High - first.High; moved < 40 || moved > 60 {
		t.Errorf("the new session's range is %+v, want a twentieth of the way from %+v", *began, *first)
	}
	// Alternating, each has its own.
	for seq := uint64(2); seq <= 4; seq++ {
		a, other := deep("a", seq, int(2*seq), 0).Range, deep("b", seq, int(2*seq+1), 1000).Range
		if a.High > first.High+1 || other.High < began.High {
			t.Fatalf("round %d: ranges %+v and %+v run into each other", seq, *a, *other)
		}
	}
	// A late map of one says nothing of the other. Frame 5 of a goes out at its deadline, without its map.
	detect := of("a", now(t, flow.GroupDetect, 5, plan...))
	b.publish(t, detect)
	watch.next()
	watch.wantDone(5, flow.OutcomePartial, "")
	late := of("a", now(t, flow.GroupDepth, 5, plan...))
	b.publish(t, late)
	b.acked(t, flow.GroupDepth)
	lent := of("b", now(t, flow.GroupDetect, 5, flow.GroupDetect))
	lent.Captured = 10 * int64(100*time.Millisecond)
	b.publish(t, lent)
	if s := watch.next(); s.Held == nil || s.Held.Seq != 4 || s.Range.High < began.High {
		t.Errorf("b is lent %+v with range %+v, want its own map 4", s.Held, *s.Range)
	}
	watch.wantDone(5, flow.OutcomeComplete, "")
	// A third session is lent the map of the one before.
	lent = of("c", now(t, flow.GroupDetect, 1, flow.GroupDetect))
	lent.Captured = 11 * int64(100*time.Millisecond)
	b.publish(t, lent)
	if s := watch.next(); s.Held == nil || s.Held.Seq != 4 {
		t.Errorf("the new session is lent %+v, want map 4 of the session before", s.Held)
	}
}

// Pictures that were posted are those of many people, who learn nothing of each other's: a picture without a map of its own is lent none,
// and the range is that of its own map.
func TestPostedPicturesAreApart(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	defer b.startFuser(t).stop()
	const source = flow.PredictPrefix + "x"
	watch := b.watchLiveOf(t, source)
	post := func(group string, seq uint64, offset float32) *flow.Scene {
		t.Helper()
		r := now(t, group, seq, group)
		r.Source = source
		if r.Depth != nil {
			r.Depth = ramp(t, 32, 24, depthmap.InverseRelative, [4]int{}, 0)
			r.Depth.Offset += offset
		}
		b.publish(t, r)
		defer watch.wantDone(seq, flow.OutcomeComplete, "")
		return watch.next()
	}
	first := post(flow.GroupDepth, 1, 0).Range
	if s := post(flow.GroupDetect, 2, 0); s.Held != nil || s.Range != nil || len(s.Detections) != 1 || s.Detections[0].Depth != nil {
		t.Errorf("a picture without a map is lent %+v with range %+v: %+v", s.Held, s.Range, s.Detections)
	}
	if other := post(flow.GroupDepth, 3, 1000).Range; other.Low != first.Low+1000 || other.High != first.High+1000 {
		t.Errorf("range %+v after %+v: want that of the picture's own map", *other, *first)
	}
}
