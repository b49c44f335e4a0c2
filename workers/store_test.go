package workers_test

import (
	"strings"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow"
)

// maxMessage sets the most bytes of a group's result, and returns what sets it back.
func (b bench) maxMessage(t *testing.T, group string, bytes int32) (restore func()) {
	t.Helper()
	stream, err := b.bus.JetStream().Stream(t.Context(), "RESULTS_"+strings.ToUpper(group)+"_LOSSLESS")
	if err != nil {
		t.Fatal(err)
	}
	set := func(bytes int32) {
		config := stream.CachedInfo().Config
		config.MaxMsgSize = bytes
		if _, err := b.bus.JetStream().UpdateStream(t.Context(), config); err != nil {
			t.Fatal(err)
		}
	}
	set(bytes)
	return func() { set(stream.CachedInfo().Config.MaxMsgSize) }
}

// What is too large for a message is left out, the largest first, and the frame is answered with what remains, and why.
func TestResultThatIsTooLarge(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		group string
		bytes int32
		says  string
	}{
		"a map":      {estimates, 1024, "a depth map of "},
		"detections": {detects, 300, "an answer of 8 detections does not fit"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.maxMessage(t, test.group, test.bytes)
			cfg := settings(t, test.group)
			cfg.DepthSize = 518
			defer b.start(t, cfg).stop(t)
			b.publish(t, frame(t, 1, test.group))
			r := b.results(t, test.group, 1)[1]
			if !strings.Contains(r.Error, test.says) || r.Class != flow.ClassPicture || r.Depth != nil || r.Detections != nil || r.Width != 64 {
				t.Errorf("answered with %+v, want the error %q", r, test.says)
			}
			b.drained(t)
		})
	}
}

// A frame whose answer does not even fit without anything in it is given back, and answered when it does.
func TestResultThatFitsInNoWay(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	restore := b.maxMessage(t, detects, 20)
	l := b.start(t, settings(t, detects))
	b.publish(t, frame(t, 1, detects))
	eventually(t, "the frame is given back", func() bool {
		info := b.info(t, detects)
		return info.NumRedelivered > 0 // counted when it is delivered again
	})
	l.stop(t) // while it tries, what fits changes under its hands
	restore()
	defer b.start(t, settings(t, detects)).stop(t)
	if r := b.results(t, detects, 1)[1]; r.Error != "" || len(r.Detections) != 8 {
		t.Errorf("answered with %+v", r)
	}
	b.drained(t)
}

// Whatever a model says of itself or of its failure, the answer is a message that the fuser reads.
func TestLongLedger(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	defer b.start(t, settings(t, detects)).stop(t)
	f := frame(t, 1, detects)
	for len(f.Ledger) < flow.MaxHops {
		f.Ledger = append(f.Ledger, flow.Hop{Stage: "relay"})
	}
	b.publish(t, f)
	if r := b.results(t, detects, 1)[1]; r.Error != "" || len(r.Ledger) != flow.MaxHops || r.Ledger[flow.MaxHops-1].Stage != detects {
		t.Errorf("answered with %+v", r)
	}
}
