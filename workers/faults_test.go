package workers_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
)

// ackWait sets how long a frame stays with a worker that says nothing: short, so that a test need not wait three
// seconds for what a dead worker held, or so long that waiting for it is seen.
func (b bench) ackWait(t *testing.T, group string, wait time.Duration) {
	t.Helper()
	config := b.info(t, group).Config
	config.AckWait = wait
	if _, err := b.bus.JetStream().UpdateConsumer(t.Context(), "FRAMES_LOSSLESS", config); err != nil {
		t.Fatal(err)
	}
}

// take takes the group's next frame as a worker does.
func (b bench) take(t *testing.T, group string) (jetstream.Msg, bus.Messages) {
	t.Helper()
	messages, err := b.bus.TakeFrames(t.Context(), group, lossless, 1)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := messages.Next(jetstream.NextMaxWait(patience))
	if err != nil {
		t.Fatal(err)
	}
	return msg, messages
}

// Killed again and again while frames come in: every frame is answered, and once.
func TestKilledWorkersLoseAndRepeatNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.ackWait(t, detects, 300*time.Millisecond)
	const frames, lives = 120, 4
	var killed []*life
	for n := range uint64(lives) {
		l := b.start(t, settings(t, detects))
		for seq := n*frames/lives + 1; seq <= (n+1)*frames/lives; seq++ {
			b.publish(t, frame(t, seq, detects))
		}
		if n < lives-1 {
			eventually(t, "the worker is at it", func() bool { return b.stored(t, "RESULTS_DETECT_LOSSLESS") > n*frames/lives })
			l.kill()
			killed = append(killed, l)
			continue
		}
		defer l.stop(t)
	}
	for seq, r := range b.results(t, detects, frames) {
		if r.Error != "" {
			t.Errorf("frame %d: %s", seq, r.Error)
		}
	}
	b.drained(t)
	for _, l := range killed {
		l.wait(t)
	}
}

// A worker that dies with a frame in hand: the frame goes to another, and is counted.
func TestFrameOfADeadWorkerGoesToAnother(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.ackWait(t, detects, 300*time.Millisecond)
	b.publish(t, frame(t, 1, detects))
	_, dead := b.take(t, detects)
	dead.Stop()
	l := b.start(t, settings(t, detects))
	defer l.stop(t)
	if r := b.results(t, detects, 1)[1]; r.Error != "" || len(r.Detections) != 8 {
		t.Errorf("answered with %+v", r)
	}
	b.drained(t)
	families, err := l.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "spatialflow_redeliveries_total" && family.GetMetric()[0].GetCounter().GetValue() >= 1 {
			return // a slow worker may let the time pass once more
		}
	}
	t.Error("no redelivery is counted")
}

func expectRedelivered(t *testing.T, l *life, n int) {
	t.Helper()
	expected := "# HELP spatialflow_redeliveries_total Messages that came more than once.\n# TYPE spatialflow_redeliveries_total counter\n" +
		fmt.Sprintf("spatialflow_redeliveries_total{group=\"detect\",stage=\"detect\"} %d\n", n)
	if err := testutil.GatherAndCompare(l.metrics, strings.NewReader(expected), "spatialflow_redeliveries_total"); err != nil {
		t.Error(err)
	}
}

// A frame that was begun in vain is given up at last, in words that hold whatever became of the workers; one that was only handed
// on, however often, is not.
func TestFrameIsGivenUp(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		handedOn, begun int
		error           string // by the producer
		want            string
	}{
		"handed on":       {5, 0, "", ""},
		"begun once more": {1, 1, "", ""},
		"begun twice":     {1, 2, "", "given up: 2 workers began it"},
		"of no use":       {1, 2, "file of 0 bytes", "file of 0 bytes"}, // the reason that was there first
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			f := frame(t, 1, detects)
			f.Error = test.error
			b.publish(t, f)
			for range test.handedOn {
				msg, messages := b.take(t, detects)
				if err := msg.Nak(); err != nil {
					t.Fatal(err)
				}
				messages.Stop()
			}
			if test.begun > 0 {
				if err := b.bus.SetAttempts(t.Context(), detects, f.ID(), flow.Attempts{Tries: test.begun, Cause: flow.CauseKilled}); err != nil {
					t.Fatal(err)
				}
			}
			l := b.start(t, settings(t, detects))
			r := b.results(t, detects, 1)[1]
			if (r.Error == "") != (test.want == "") || !strings.HasPrefix(r.Error, test.want) || (len(r.Detections) == 8) != (test.want == "") {
				t.Errorf("error %q and %d detections, want error %q", r.Error, len(r.Detections), test.want)
			}
			b.drained(t)
			expectRedelivered(t, l, 1)
			l.stop(t)
			if a, err := b.bus.Attempts(t.Context(), detects, f.ID()); test.error == "" && (a.Tries != 0 || err != nil) {
				t.Errorf("%+v is noted of an answered frame, %v", a, err)
			}
		})
	}
}

// Clean stops in the middle answer what is in hand and give back what is on its way: nothing waits for AckWait.
func TestStoppedWorkerHasNothingInHand(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.ackWait(t, detects, time.Hour)
	const frames, lives = 150, 5
	for seq := uint64(1); seq <= frames; seq++ {
		b.publish(t, frame(t, seq, detects))
	}
	for range lives {
		before := b.stored(t, "RESULTS_DETECT_LOSSLESS")
		l := b.start(t, settings(t, detects))
		eventually(t, "the worker is at it", func() bool { return b.stored(t, "RESULTS_DETECT_LOSSLESS") > before+10 })
		l.stop(t)
	}
	defer b.start(t, settings(t, detects)).stop(t)
	b.results(t, detects, frames)
	b.drained(t)
}

// While results can't be stored the frame stays in hand, longer than AckWait; then it is answered, once.
func TestFrameIsHeldUntilItsResultIsStored(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.ackWait(t, detects, 8*time.Second) // the worker says every second or two that it is at it, or a while later
	stream, err := b.bus.JetStream().Stream(t.Context(), "RESULTS_DETECT_LOSSLESS")
	if err != nil {
		t.Fatal(err)
	}
	full := stream.CachedInfo().Config
	full.MaxBytes = 1 // deleted and made again it would have no consumer for a moment, and throw the result away
	if _, err := b.bus.JetStream().UpdateStream(t.Context(), full); err != nil {
		t.Fatal(err)
	}
	l := b.start(t, settings(t, detects))
	defer l.stop(t)
	b.publish(t, frame(t, 1, detects))
	eventually(t, "the frame is in hand", func() bool { return b.info(t, detects).NumAckPending == 1 })
	redelivered := time.After(9 * time.Second)
	<-redelivered // an event that must not happen has no other sign
	if _, err := b.bus.JetStream().UpdateStream(t.Context(), stream.CachedInfo().Config); err != nil {
		t.Fatal(err)
	}
	if r := b.results(t, detects, 1)[1]; r.Error != "" {
		t.Error(r.Error)
	}
	b.drained(t)
	expectRedelivered(t, l, 0)
}

// A worker that is stopped and can't store its result gives the frame back.
func TestStoppedWorkerGivesBackWhatItCannotStore(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.ackWait(t, detects, time.Hour) // it comes back because it is given back
	if err := b.bus.JetStream().DeleteStream(t.Context(), "RESULTS_DETECT_LOSSLESS"); err != nil {
		t.Fatal(err)
	}
	l := b.start(t, settings(t, detects))
	b.publish(t, frame(t, 1, detects))
	eventually(t, "the frame is in hand", func() bool { return b.info(t, detects).NumAckPending == 1 })
	l.stop(t)
	msg, messages := b.take(t, detects)
	defer messages.Stop()
	if meta, err := msg.Metadata(); err != nil || meta.NumDelivered < 2 { // again to the worker that stops, before it asks for no more
		t.Errorf("metadata %+v, %v; want a delivery after the first", meta, err)
	}
	if err := msg.Nak(); err != nil {
		t.Fatal(err)
	}
	if err := b.bus.Provision(t.Context(), flow.DefaultDeployment().With(groups)); err != nil {
		t.Fatal(err)
	}
	messages.Stop()
	defer b.start(t, settings(t, detects)).stop(t)
	if r := b.results(t, detects, 1)[1]; r.Error != "" {
		t.Error(r.Error)
	}
	b.drained(t)
}
