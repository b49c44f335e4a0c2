package producer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/producer"
)

// until waits until so is true.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for begin := time.Now(); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatalf("never: %s", what)
		}
	}
}

func (b bench) stream(t *testing.T, name string) jetstream.Stream {
	t.Helper()
	s, err := b.bus.JetStream().Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// holds waits until a stream holds n messages.
func holds(t *testing.T, s jetstream.Stream, n uint64) {
	t.Helper()
	until(t, fmt.Sprintf("%s holds %d messages", s.CachedInfo().Config.Name, n), func() bool {
		info, err := s.Info(t.Context())
		return err == nil && info.State.Msgs == n
	})
}

// wantAgain wants so many frames of source p to have been published again.
func (l *life) wantAgain(n int) {
	l.t.Helper()
	want := fmt.Sprintf(`
# HELP spatialflow_frames_republished_total Frames that were published again: nothing of them was found anywhere.
# TYPE spatialflow_frames_republished_total counter
spatialflow_frames_republished_total{source="p"} %d
`, n)
	if err := testutil.GatherAndCompare(l.metrics, strings.NewReader(want), "spatialflow_frames_republished_total"); err != nil {
		l.t.Error(err)
	}
}

func (l *life) status() flow.SourceStatus { <-l.board.Named(); return l.board.Statuses()[0] }

// answering are workers of both groups that answer so many frames each, and a fuser that takes nothing.
func (b bench) answering(t *testing.T, n int) {
	t.Helper()
	for _, group := range flow.DefaultGroups() {
		messages, err := b.bus.TakeFrames(t.Context(), group.Name, flow.ModeLossless, 1)
		if err != nil {
			t.Fatal(err)
		}
		for answered := map[uint64]bool{}; len(answered) < n; { // one that took long comes again
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			msg, err := messages.Next(jetstream.NextContext(ctx))
			cancel()
			if err != nil {
				t.Fatal(err)
			}
			var f flow.Frame
			err = flow.Decode(msg.Data(), &f)
			err = errors.Join(err, b.bus.PublishResult(t.Context(), &flow.Result{
				Version: f.Version, Group: group.Name, Source: f.Source, Session: f.Session, Seq: f.Seq, Mode: f.Mode, Plan: f.Plan,
				Partition: f.Partition, Copy: f.Copy, Width: f.Width, Height: f.Height,
			}), msg.DoubleAck(t.Context()))
			if err != nil {
				t.Fatal(err)
			}
			answered[f.Seq] = true
		}
		messages.Stop()
	}
}

func quick(c *producer.Config) { c.Silence, c.Window = 100*time.Millisecond, 4 }

// A purged stream of frames costs nothing but time: they come again, as copies that the server does not take for the same.
func TestFramesPurged(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	l := b.start(t, quick, "p="+pictures(t, 12))
	frames := b.stream(t, "FRAMES_LOSSLESS")
	holds(t, frames, 4)
	if err := frames.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := b.fuse(t, &fuser{ordered: true})
	wantComplete(t, l.wait(), 12)
	l.wantAgain(4)
	accepted, _ := f.accepted("p")
	for _, frame := range accepted {
		if frame.Seq <= 4 && frame.Copy != 1 || frame.Seq > 4 && frame.Copy != 0 {
			t.Errorf("frame %d came as copy %d", frame.Seq, frame.Copy)
		}
	}
	l.stop()
	if n := strings.Count(l.log.String(), "published again"); n != 4 {
		t.Errorf("the log tells of %d frames that were published again, want 4", n)
	}
}

// What waits is not lost, however long: for workers first, then for a fuser. Only results that are gone are made again.
func TestResultsPurged(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	l := b.start(t, quick, "p="+pictures(t, 6))
	until(t, "it says that it waits for workers", func() bool {
		return strings.HasPrefix(l.status().Reason, "waiting for a worker of detect, depth to take frame ")
	})
	b.answering(t, 4)
	until(t, "it says that it waits for a fuser", func() bool { return strings.HasPrefix(l.status().Reason, "waiting for a fuser") })
	l.wantAgain(0)
	if err := b.stream(t, "RESULTS_DETECT_LOSSLESS").Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.fuse(t, &fuser{ordered: true})
	wantComplete(t, l.wait(), 6)
	l.wantAgain(4)
	if s := l.stop()[0]; s.Reason != "" {
		t.Errorf("in the end it still says %q", s.Reason)
	}
}

// A done that was lost, and its scene is not kept any more: the position knows.
func TestSceneGone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.fuse(t, &fuser{lose: func(id flow.FrameID) (bool, bool) { return id.Seq == 6, false }})
	l := b.start(t, func(c *producer.Config) { quick(c); c.Run = "r" }, "p="+pictures(t, 6))
	until(t, "five frames are complete", func() bool { return l.status().Account.Complete == 5 })
	position, _, err := b.bus.Position(t.Context(), "p", "r")
	if err != nil {
		t.Fatal(err)
	}
	position.Seq = 6
	if err := b.bus.SetPosition(t.Context(), "p", "r", position); err != nil { // as the real fuser does
		t.Fatal(err)
	}
	wantComplete(t, l.wait(), 6)
	l.wantAgain(0)
	l.stop()
}

// A session that began before there were more partitions keeps its own, in its record and in each frame, also when it is
// carried on; one that begins takes another.
func TestSessionKeepsItsPartition(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	if err := b.bus.SetPosition(t.Context(), "p", "old", flow.Position{Partition: 1}); err != nil {
		t.Fatal(err)
	}
	f := b.fuse(t, &fuser{})
	for run, want := range map[string]int{"old": 1, "new": flow.Partition("p", flow.DefaultPartitions)} {
		l := b.start(t, func(c *producer.Config) { c.Run = run }, "p="+pictures(t, 3))
		wantComplete(t, l.wait(), 3)
		l.stop()
		position, _, err := b.bus.Position(t.Context(), "p", run)
		if err != nil || position.Partition != want {
			t.Errorf("run %s: record %+v, %v, want partition %d", run, position, err, want)
		}
		frames, _ := f.accepted("p")
		for _, frame := range frames {
			if frame.Session == run && frame.Partition != want {
				t.Errorf("run %s: frame %d is of partition %d, want %d", run, frame.Seq, frame.Partition, want)
			}
		}
	}
}

// A group that is added is in the plan of the next frames of a source that runs.
func TestLosslessFollowsTheDeployment(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	f := b.fuse(t, &fuser{})
	d := flow.DefaultDeployment()
	l := b.start(t, func(c *producer.Config) { c.Unpaced = false }, "p=street:?size=64x64&fps=60#mode=lossless")
	until(t, "some frames went out", func() bool { frames, _ := f.accepted("p"); return len(frames) > 5 })
	d.Groups = append(d.Groups, flow.Group{Name: "pose", Slot: 3})
	if err := b.bus.Provision(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	until(t, "a frame is planned for the third group", func() bool {
		frames, _ := f.accepted("p")
		return len(frames[len(frames)-1].Plan) == 3
	})
	if s := l.stop()[0]; s.State != flow.StateStopped || s.Account.CheckAtRest() != nil {
		t.Errorf("%+v", s)
	}
}
