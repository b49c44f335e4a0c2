package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
)

func TestFrameIsStoredOnce(t *testing.T) {
	b := provisioned(t)
	f := frame("cam1", 1, "detect", "depth")
	publishFrames(t, b, flow.DefaultGroups(), f, f, f)
	if n := stored(t, b, "FRAMES_LOSSLESS"); n != 1 {
		t.Errorf("published three times it is stored %d times, want once", n)
	}
	for _, group := range []string{"detect", "depth"} {
		wantWaiting(t, b, "FRAMES_LOSSLESS", group, 1)
	}
}

func TestFramesReachTheGroupsOfTheirPlan(t *testing.T) {
	b := provisioned(t)
	publishFrames(t, b, flow.DefaultGroups(),
		frame("cam1", 1, "detect", "depth"), frame("cam1", 2, "detect"), frame("cam1", 3, "depth"),
		frame("depth", 4, "detect"), frame("detect", 5, "depth")) // sources named like groups
	for group, want := range map[string][]string{
		"detect": {"cam1/run1/1", "cam1/run1/2", "depth/run1/4"},
		"depth":  {"cam1/run1/1", "cam1/run1/3", "detect/run1/5"},
	} {
		wantWaiting(t, b, "FRAMES_LOSSLESS", group, len(want))
		if got := take(t, b, group, len(want)); !slices.Equal(got, want) {
			t.Errorf("%s got %v, want %v", group, got, want)
		}
	}
	eventually(t, "both groups have acked and nothing is left", func() bool { return stored(t, b, "FRAMES_LOSSLESS") == 0 })
}

// The server acks a frame that no consumer wants and throws it away: such a frame must not look admitted.
func TestFrameForNobodyIsRefused(t *testing.T) {
	b := provisioned(t)
	off := flow.Groups{{Name: "detect", Slot: 1}, {Name: "depth", Slot: 2, Off: true}}
	for name, test := range map[string]struct {
		groups flow.Groups
		plan   []string
	}{
		"no plan":       {flow.DefaultGroups(), nil},
		"unknown group": {flow.DefaultGroups(), []string{"detect", "pose"}},
		"group is off":  {off, []string{"detect", "depth"}},
	} {
		if err := b.PublishFrame(t.Context(), test.groups, frame("cam1", 1, test.plan...)); !errors.Is(err, flow.ErrMessage) {
			t.Errorf("%s: %v, want ErrMessage", name, err)
		}
	}
	if n := stored(t, b, "FRAMES_LOSSLESS"); n != 0 {
		t.Errorf("%d refused frames are stored", n)
	}
}

func TestStoredFrameIsRepublished(t *testing.T) {
	b := provisioned(t)
	groups := flow.DefaultGroups()
	sub, err := b.Conn().SubscribeSync(groups.AcceptedSubject(lossless, "cam1"))
	if err != nil {
		t.Fatal(err)
	}
	sent := frame("cam1", 7, "detect")
	publishFrames(t, b, groups, frame("cam2", 1, "detect"), sent, sent)
	msg, err := sub.NextMsg(patience)
	if err != nil {
		t.Fatalf("the stored frame did not come on accepted: %v", err)
	}
	if want := "accepted.lossless.detect._.cam1"; msg.Subject != want {
		t.Errorf("it came on %s, want %s", msg.Subject, want)
	}
	if got, want := msg.Header.Get(jetstream.MsgIDHeader), "cam1/run1/7"; got != want {
		t.Errorf("its Nats-Msg-Id is %q, want %q", got, want)
	}
	received := new(flow.Frame)
	if err := flow.Decode(msg.Data, received); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sent, received); diff != "" {
		t.Errorf("the frame changed (-sent +received):\n%s", diff)
	}
	if n, _, err := sub.Pending(); err != nil || n != 0 { // PubAcks come after: nothing can be on its way
		t.Errorf("%d more frames came, %v; a duplicate must not", n, err)
	}
}

// ofSize makes the encoded frame exactly n bytes long.
func ofSize(t *testing.T, f *flow.Frame, n int) *flow.Frame {
	t.Helper()
	f.Picture = make([]byte, n-1024)
	data, err := flow.Encode(nil, f)
	if err != nil {
		t.Fatal(err)
	}
	f.Picture = make([]byte, len(f.Picture)+n-len(data))
	if data, err = flow.Encode(nil, f); err != nil || len(data) != n {
		t.Fatalf("frame is %d bytes, want %d (%v)", len(data), n, err)
	}
	return f
}

func TestTooLargeFrame(t *testing.T) {
	b := provisioned(t)
	groups := flow.DefaultGroups()
	for name, size := range map[string]int{
		"one byte above":             bus.MaxMessage + 1,
		"above what the server read": bus.MaxPayload + 1,
		"its headers are above":      bus.MaxMessage, // the server refuses: headers count
	} {
		if err := b.PublishFrame(t.Context(), groups, ofSize(t, frame("cam1", 1, "detect"), size)); !errors.Is(err, bus.ErrTooLarge) {
			t.Errorf("%s: %v, want ErrTooLarge", name, err)
		}
	}
	if n := b.Conn().Stats().Reconnects; n != 0 || !b.Conn().IsConnected() {
		t.Errorf("the connection broke: %d reconnects", n)
	}
	publishFrames(t, b, groups, ofSize(t, frame("cam1", 1, "detect"), bus.MaxMessage-1024), frame("cam1", 2, "detect"))
	if got, want := take(t, b, "detect", 2), []string{"cam1/run1/1", "cam1/run1/2"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestFullStreamTakesTheFrameLater(t *testing.T) {
	b, _ := start(t, t.TempDir())
	groups := flow.DefaultGroups()
	limits := flow.DefaultLimits()
	limits.GuardBytes = 256 << 10
	provision(t, b, groups, limits)
	sub, err := b.Conn().SubscribeSync(groups.AcceptedSubject(lossless, "cam1"))
	if err != nil {
		t.Fatal(err)
	}
	seq, refused := uint64(0), (*flow.Frame)(nil)
	for refused == nil {
		seq++
		f := ofSize(t, frame("cam1", seq, "detect", "depth"), 20<<10)
		switch err := b.PublishFrame(t.Context(), groups, f); {
		case errors.Is(err, bus.ErrFull):
			refused = f
		case err != nil:
			t.Fatalf("frame %d: %v", seq, err)
		case seq > 100:
			t.Fatal("2 MB fit in a stream of 256 KiB")
		}
	}
	if err := b.PublishFrame(t.Context(), groups, refused); !errors.Is(err, bus.ErrFull) {
		t.Errorf("still full: %v, want ErrFull", err)
	}
	take(t, b, "detect", 1)
	if err := b.PublishFrame(t.Context(), groups, refused); !errors.Is(err, bus.ErrFull) {
		t.Errorf("after the ack of one of two groups: %v, want ErrFull", err)
	}
	take(t, b, "depth", 1)
	eventually(t, "the same frame is taken once there is room", func() bool {
		return b.PublishFrame(t.Context(), groups, refused) == nil
	})
	if got, want := take(t, b, "detect", int(seq)-1), refused.ID().String(); got[len(got)-1] != want {
		t.Errorf("last frame is %s, want %s: the one that was refused", got[len(got)-1], want)
	}
	if n, _, err := sub.Pending(); err != nil || n != int(seq) {
		t.Errorf("%d frames came on accepted, want %d: each once, when it was stored (%v)", n, seq, err)
	}
}

func TestResultIsStoredOncePerGroup(t *testing.T) {
	b := provisioned(t)
	for _, r := range []*flow.Result{result("detect", "foobar", 1), result("detect", "foobar", 1), result("depth", "foobar", 1)} {
		if err := b.PublishResult(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	for _, group := range []string{"detect", "depth"} {
		stream := "RESULTS_" + strings.ToUpper(group) + "_LOSSLESS"
		if n := stored(t, b, stream); n != 1 {
			t.Errorf("%s holds %d results, want 1", stream, n)
		}
		messages, err := b.TakeResults(t.Context(), group, lossless, 0, 4)
		if err != nil {
			t.Fatal(err)
		}
		msg, err := messages.Next(jetstream.NextMaxWait(patience))
		if err != nil {
			t.Fatalf("result of %s does not come in its partition: %v", group, err)
		}
		var r flow.Result
		if err := flow.Decode(msg.Data(), &r); err != nil || r.Group != group {
			t.Errorf("result of %s came for %s, %v", r.Group, group, err)
		}
		messages.Stop()
	}
}

func TestSceneIsStoredOnce(t *testing.T) {
	dir := t.TempDir()
	b, stop := start(t, dir)
	provision(t, b, flow.DefaultGroups(), flow.DefaultLimits())
	first := scene("cam1", "run1", 1)
	publishScenes(t, b, first, scene("cam1", "run1", 2), scene("cam2", "run1", 1), scene("cam1", "run2", 1))
	second := scene("cam1", "run1", 1)
	second.Outcome = flow.OutcomeError
	if err := b.PublishScene(t.Context(), second); !errors.Is(err, bus.ErrStored) {
		t.Errorf("second scene of a frame: %v, want ErrStored", err)
	}
	stop()
	b, _ = start(t, dir)
	if err := b.PublishScene(t.Context(), second); !errors.Is(err, bus.ErrStored) {
		t.Errorf("second scene after a restart of the server: %v, want ErrStored", err)
	}
	if outcome, err := b.SceneOutcome(t.Context(), flow.AnyPartition, first.ID()); err != nil || outcome != flow.OutcomeComplete {
		t.Errorf("stored is outcome %q, %v; want that of the first", outcome, err)
	}
	if n := stored(t, b, "SCENES_LOSSLESS"); n != 4 {
		t.Errorf("%d scenes are stored, want 4", n)
	}
}

// Two fusers that publish the scene of one frame at once: one of them stores it.
func TestSceneOfTwoFusersIsStoredOnce(t *testing.T) {
	b := provisioned(t)
	for seq := range uint64(20) {
		var fusers sync.WaitGroup
		errs := make([]error, 4)
		for i := range errs {
			fusers.Go(func() { errs[i] = b.PublishScene(t.Context(), scene("cam1", "run1", seq+1)) })
		}
		fusers.Wait()
		took := 0
		for _, err := range errs {
			if err == nil {
				took++
			} else if !errors.Is(err, bus.ErrStored) {
				t.Errorf("scene %d: %v, want ErrStored", seq+1, err)
			}
		}
		if took != 1 {
			t.Errorf("scene %d was stored by %d fusers, want 1", seq+1, took)
		}
	}
}

// Buffers are used again: what many goroutines publish at once must stay apart.
func TestPublishingAtOnceKeepsMessagesApart(t *testing.T) {
	b := provisioned(t)
	const each = 20
	var sources sync.WaitGroup
	for s := range 4 {
		sources.Go(func() {
			for seq := range uint64(each) {
				f := frame(fmt.Sprint("cam", s), seq+1, "detect")
				f.Picture = slices.Repeat([]byte{byte(s)}, 1000*(s+1)+int(seq))
				if err := b.PublishFrame(t.Context(), flow.DefaultGroups(), f); err != nil {
					t.Error(err)
				}
			}
		})
	}
	sources.Wait()
	messages, err := b.TakeFrames(t.Context(), "detect", lossless, 16)
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Stop()
	for range 4 * each {
		msg, err := messages.Next(jetstream.NextMaxWait(patience))
		if err != nil {
			t.Fatal(err)
		}
		var f flow.Frame
		if err := flow.Decode(msg.Data(), &f); err != nil {
			t.Fatalf("a stored frame is torn: %v", err)
		}
		s := int(f.Source[3] - '0')
		if want := slices.Repeat([]byte{byte(s)}, 1000*(s+1)+int(f.Seq)-1); !slices.Equal(f.Picture, want) {
			t.Fatalf("the picture of %s became another", f.ID())
		}
	}
}

func TestPublishEndsWithItsContext(t *testing.T) {
	b := provisioned(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.PublishFrame(ctx, flow.DefaultGroups(), frame("cam1", 1, "detect")); !errors.Is(err, context.Canceled) {
		t.Errorf("publish with an ended context: %v, want context.Canceled", err)
	}
}

// While the server is away a publish fails at once: a frame sent late is worse than none.
func TestPublishFailsAtOnceWithoutServer(t *testing.T) {
	b, stop := start(t, t.TempDir())
	provision(t, b, flow.DefaultGroups(), flow.DefaultLimits())
	stop()
	if err := b.PublishFrame(t.Context(), flow.DefaultGroups(), frame("cam1", 1, "detect")); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("publish on a closed connection: %v, want ErrConnectionClosed", err)
	}
	if err := b.PublishAlive(flow.Alive{Stage: "detect", Instance: "a"}); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("alive on a closed connection: %v, want ErrConnectionClosed", err)
	}
	if _, err := bus.Connect(bus.Options{URL: "nats://127.0.0.1:1", Role: "test"}); err == nil || !strings.Contains(err.Error(), "nats://127.0.0.1:1") {
		t.Errorf("connect to nobody: %v, want an error that names the address", err)
	}
}

// What no reader would take is not stored: it could never be read again.
func TestSceneOfTooManyElements(t *testing.T) {
	b := provisioned(t)
	s := &flow.Scene{
		Version: flow.Wire, Source: "cam1", Session: "run1", Seq: 1, Mode: flow.ModeLossless, Plan: []string{"detect"}, Outcome: flow.OutcomeComplete,
		Detections: make([]flow.Detection, 10000),
	}
	if err := b.PublishScene(t.Context(), s); !errors.Is(err, bus.ErrTooLarge) {
		t.Errorf("%v, want ErrTooLarge", err)
	}
	if n := stored(t, b, "SCENES_LOSSLESS"); n != 0 {
		t.Errorf("%d scenes are stored", n)
	}
}
