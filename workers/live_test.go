package workers_test

import (
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
)

// liveFrame is one that may wait for an hour.
func liveFrame(t testing.TB, seq uint64) *flow.Frame {
	t.Helper()
	f := frame(t, seq, detects)
	f.Mode, f.Budget = flow.ModeLive, time.Hour
	return f
}

// With its done a worker says how many live frames waited for the group when it took one, so that producers need no clock
// of its host to know.
func TestDoneTellsTheQueue(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	done := make(chan flow.Done, 10)
	if _, err := b.bus.SubscribeDone(detects, "cam1", func(_ string, d flow.Done) { done <- d }); err != nil {
		t.Fatal(err)
	}
	const frames = 5
	for seq := uint64(1); seq <= frames; seq++ {
		b.publish(t, liveFrame(t, seq))
	}
	cfg := settings(t, detects)
	cfg.Parallel = 1
	defer b.start(t, cfg).stop(t)
	for n := range frames { // in any order
		select {
		case d := <-done:
			if want := frames - d.Seq + 1; d.Queue != want {
				t.Errorf("frame %d met a queue of %d, want %d", d.Seq, d.Queue, want)
			}
		case <-time.After(patience):
			t.Fatalf("after %d of %d no more are done", n, frames)
		}
	}
}

// However a producer's clock is set, its frames are looked at: how long they waited is told by the stream's clock.
func TestProducersClockIsSet(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	done := make(chan flow.Done, 30)
	if _, err := b.bus.SubscribeDone(detects, "cam1", func(_ string, d flow.Done) { done <- d }); err != nil {
		t.Fatal(err)
	}
	defer b.start(t, settings(t, detects)).stop(t)
	clock := time.Duration(0)
	for seq := uint64(1); seq <= 30; seq++ {
		if seq%10 == 0 {
			clock -= 3 * time.Hour
		}
		f := liveFrame(t, seq)
		f.Sent += clock.Nanoseconds()
		b.publish(t, f)
	}
	for range 30 {
		select {
		case d := <-done:
			if d.Outcome != flow.OutcomeComplete {
				t.Errorf("frame %d is %s: %s", d.Seq, d.Outcome, d.Reason)
			}
		case <-time.After(patience):
			t.Fatal("no more are done")
		}
	}
}

// A worker whose lossless results can't be stored goes on with live frames, and the lossless ones stay in hand until they can.
func TestLosslessResultsAwayStopNoCamera(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	done := make(chan flow.Done, 10)
	if _, err := b.bus.SubscribeDone(detects, "cam1", func(_ string, d flow.Done) { done <- d }); err != nil {
		t.Fatal(err)
	}
	if err := b.bus.JetStream().DeleteStream(t.Context(), "RESULTS_DETECT_LOSSLESS"); err != nil {
		t.Fatal(err)
	}
	cfg := settings(t, detects)
	cfg.Parallel = 1
	defer b.start(t, cfg).stop(t)
	for seq := uint64(1); seq <= 3; seq++ {
		b.publish(t, frame(t, seq, detects))
	}
	eventually(t, "the lossless frames are in hand", func() bool { return b.info(t, detects).NumAckPending == 3 })
	const frames = 4 * 10 // after nine a lossless one has its turn, if it can
	for seq := uint64(1); seq <= frames; seq++ {
		b.publish(t, liveFrame(t, seq))
		select {
		case d := <-done:
			if d.Seq != seq || d.Outcome != flow.OutcomeComplete {
				t.Errorf("frame %d is %s: %s, want %d", d.Seq, d.Outcome, d.Reason, seq)
			}
		case <-time.After(patience):
			t.Fatalf("live frame %d is not answered", seq)
		}
	}
	if info := b.info(t, detects); info.NumAckPending != 3 || info.NumRedelivered != 0 {
		t.Errorf("%d lossless frames are in hand, %d came again; want 3 and none", info.NumAckPending, info.NumRedelivered)
	}
	if err := b.bus.Provision(t.Context(), flow.DefaultDeployment()); err != nil {
		t.Fatal(err)
	}
	b.results(t, detects, 3)
	b.drained(t)
}
