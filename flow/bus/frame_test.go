package bus_test

import (
	"slices"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/spatial-flow/spatial-flow/flow"
)

// Where a frame waits is told: in its stream until every group has acked it, and then as results until the fuser has.
func TestWhereAFrameWaits(t *testing.T) {
	t.Parallel()
	b := provisioned(t)
	f := frame("cam1", 1, "detect")
	ack, err := b.StoreFrame(t.Context(), flow.DefaultGroups(), f)
	if err != nil {
		t.Fatal(err)
	}
	want := func(what string, frame *flow.Frame, sequence uint64, there bool) {
		t.Helper()
		if got, err := b.HasFrame(t.Context(), frame, sequence); err != nil || got != there {
			t.Errorf("%s: there %v, %v", what, got, err)
		}
	}
	want("a stored frame", f, ack.Sequence, true)
	want("a sequence that is not there", f, ack.Sequence+1, false)
	again := *f
	again.Copy = 1
	want("another copy", &again, ack.Sequence, false)
	take(t, b, "detect", 1)
	eventually(t, "the frame is acked", func() bool { return stored(t, b, "FRAMES_LOSSLESS") == 0 })
	want("a frame that was acked", f, ack.Sequence, false)

	for seq, copies := range map[uint64]int{1: 1, 3: 0} {
		r := result("detect", "cam1", seq)
		r.Copy = copies
		if err := b.PublishResult(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	other := result("detect", "cam1", 2)
	other.Session = "run2"
	if err := b.PublishResult(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	found, err := b.StoredResults(t.Context(), "detect", lossless, 0, "cam1", "run1")
	if err != nil || len(found) != 2 || !found[1] || !found[3] {
		t.Errorf("results of %v, %v, want those of 1 and 3", found, err)
	}
}

// A copy keeps the plan of its frame, also when a group of it was turned off meanwhile.
func TestCopyKeepsItsPlan(t *testing.T) {
	t.Parallel()
	b := provisioned(t)
	off := flow.Groups{{Name: "detect", Slot: 1}, {Name: "depth", Slot: 2, Off: true}}
	f := frame("cam1", 1, "detect", "depth")
	f.Copy = 1
	if err := b.PublishFrame(t.Context(), off, f); err != nil {
		t.Error(err)
	}
	wantWaiting(t, b, "FRAMES_LOSSLESS", "detect", 1)
}

// A frame, and a result of one, that comes before another of its session is found, whoever wrote it.
func TestStoredBefore(t *testing.T) {
	t.Parallel()
	b := provisioned(t)
	groups := flow.DefaultGroups()
	want := func(seq uint64, want bool) {
		t.Helper()
		f := frame("cam1", seq, "detect")
		if got, err := b.StoredBefore(t.Context(), groups, f.Place(), f.ID()); got != want || err != nil {
			t.Errorf("before frame %d: %v, %v; want %v", seq, got, err, want)
		}
	}
	want(9, false)
	other := frame("cam1", 1, "detect")
	other.Session = "run2"
	publishFrames(t, b, groups, other, frame("cam2", 1, "detect"))
	want(9, false)
	publishFrames(t, b, groups[:1], frame("cam1", 7, "detect")) // of a producer that knows one group
	want(9, true)
	want(7, false)
	if err := b.PublishResult(t.Context(), result("detect", "cam1", 4)); err != nil {
		t.Fatal(err)
	}
	want(7, true)
	want(4, false)
}

// What waits of a session that is forgotten goes, be it that nobody understands it, and nothing else does.
func TestForgottenSessionLeavesNothing(t *testing.T) {
	t.Parallel()
	b := provisioned(t)
	groups := flow.DefaultGroups()
	other := frame("cam1", 1, "detect")
	other.Session = "run2"
	publishFrames(t, b, groups, frame("cam1", 1, "detect"), frame("cam1", 2, "detect", "depth"), other, frame("cam2", 1, "detect"))
	for _, r := range []*flow.Result{result("detect", "cam1", 3), result("depth", "cam1", 3), result("detect", "cam2", 3)} {
		if err := b.PublishResult(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	strange := nats.NewMsg(flow.ResultSubject("detect", lossless, 5, "cam1"))
	strange.Data = []byte("of a version to come")
	strange.Header.Set(nats.MsgIdHdr, "cam1/run1/4/detect")
	if _, err := b.JetStream().PublishMsg(t.Context(), strange); err != nil {
		t.Fatal(err)
	}
	if err := b.Forget(t.Context(), "cam1", "run1"); err != nil {
		t.Fatal(err)
	}
	for stream, want := range map[string]int{"FRAMES_LOSSLESS": 2, "RESULTS_DETECT_LOSSLESS": 1, "RESULTS_DEPTH_LOSSLESS": 0} {
		if got := stored(t, b, stream); got != want {
			t.Errorf("%s holds %d messages, want %d", stream, got, want)
		}
	}
}

// The frames of a source that are still stored, in order, whatever number of groups their producers know, until no more are wanted.
func TestStoredFrames(t *testing.T) {
	t.Parallel()
	b := provisioned(t)
	for seq := uint64(1); seq <= 4; seq++ {
		for _, source := range []string{"cam1", "cam2"} {
			if err := b.PublishFrame(t.Context(), flow.DefaultGroups(), frame(source, seq, "detect", "depth")); err != nil {
				t.Fatal(err)
			}
		}
	}
	three := append(flow.DefaultGroups(), flow.Group{Name: "pose", Slot: 3}) // the producer knows two
	for _, most := range []int{2, 100} {
		var got []uint64
		err := b.StoredFrames(t.Context(), three, "cam1", func(id flow.FrameID, data []byte) bool {
			var f flow.Frame
			if err := flow.Decode(data, &f); err != nil || f.ID() != id || id.Source != "cam1" {
				t.Errorf("%v is %v: %v", id, f.ID(), err)
			}
			got = append(got, id.Seq)
			return len(got) < most
		})
		if want := []uint64{1, 2, 3, 4}[:min(most, 4)]; err != nil || !slices.Equal(got, want) {
			t.Errorf("at most %d: %v, %v; want %v", most, got, err, want)
		}
	}
}
