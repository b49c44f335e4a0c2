package workers_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/spatial-flow/spatial-flow/flow"
)

// A frame of a version that this worker does not read is kept for one that does: given back, counted, and told of.
func TestNewerFrameIsGivenBack(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	heard := make(chan *nats.Msg, 64)
	if _, err := b.bus.Conn().ChanSubscribe(flow.AliveSubject(detects, "*"), heard); err != nil {
		t.Fatal(err)
	}
	f := frame(t, 1, detects)
	f.Version = flow.Wire + 1
	data, err := flow.Encode(nil, f)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.bus.JetStream().Publish(t.Context(), groups.FrameSubject(lossless, []string{detects}, "cam1"), data); err != nil {
		t.Fatal(err)
	}
	l := b.start(t, settings(t, detects))
	defer l.stop(t)
	b.publish(t, frame(t, 2, detects))
	if r := b.results(t, detects, 1)[2]; r == nil || r.Error != "" {
		t.Errorf("the frame behind it: %+v", r)
	}
	for deadline := time.After(patience); ; {
		select {
		case msg := <-heard:
			alive, err := flow.ParseAlive(msg.Data)
			if err != nil {
				t.Fatal(err)
			}
			if alive.Note == "" {
				continue
			}
			if !strings.HasPrefix(alive.Note, "needs a newer worker") {
				t.Errorf("it says %q", alive.Note)
			}
		case <-deadline:
			t.Fatal("it never says that a newer worker is needed")
		}
		break
	}
	eventually(t, "the frame comes again", func() bool { return b.info(t, detects).NumRedelivered == 1 })
	if n := b.stored(t, "FRAMES_LOSSLESS"); n != 1 {
		t.Errorf("%d frames are left, want 1", n)
	}
	if got := l.refused(t, "newer"); got < 1 {
		t.Errorf("%v frames of a newer version are counted", got)
	}
	if got := l.refused(t, "malformed"); got != 0 {
		t.Errorf("%v malformed frames are counted", got)
	}
}

// refused is how many frames were turned away for a reason.
func (l *life) refused(t *testing.T, reason string) (n float64) {
	t.Helper()
	families, err := l.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "spatialflow_refused_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if label.GetName() == "reason" && label.GetValue() == reason {
					n += metric.GetCounter().GetValue()
				}
			}
		}
	}
	return n
}
