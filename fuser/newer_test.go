package fuser_test

import (
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
)

// refused is how many results the fuser refused for a reason.
func (r *runner) refused(reason string) (n float64) {
	r.t.Helper()
	families, err := r.metrics.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if family.GetName() == "spatialflow_refused_total" && label.GetName() == "reason" && label.GetValue() == reason {
					n += metric.GetCounter().GetValue()
				}
			}
		}
	}
	return n
}

func (b bench) eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for begin := time.Now(); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// A result of a version, or of a partition, that this fuser does not know is neither lost nor in anybody's way: it comes again
// until somebody knows it.
func TestNewerResultsWait(t *testing.T) {
	t.Parallel()
	newer := result(flow.GroupDepth, "cam1", 1)
	newer.Version = flow.Wire + 1
	elsewhere := result(flow.GroupDepth, "cam1", 1)
	elsewhere.Partition = (elsewhere.Partition + 1) % flow.DefaultPartitions
	for name, r := range map[string]*flow.Result{"version": newer, "partition": elsewhere} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			alive, err := b.bus.Conn().SubscribeSync("alive.fuser.*")
			if err != nil {
				t.Fatal(err)
			}
			f := b.startFuser(t)
			defer f.stop()
			data, err := flow.Encode(nil, r)
			if err != nil {
				t.Fatal(err)
			}
			subject := flow.ResultSubject(flow.GroupDepth, flow.ModeLossless, flow.Partition("cam1", flow.DefaultPartitions), "cam1")
			ack, err := b.bus.JetStream().Publish(t.Context(), subject, data)
			if err != nil {
				t.Fatal(err)
			}
			b.publish(t, result(flow.GroupDetect, "cam1", 1))
			for _, group := range plan { // other sources go on
				b.publish(t, result(group, neighbours(1)[0], 1))
			}
			b.scenes(t, 1)
			b.eventually(t, "it comes again", func() bool { return f.refused("newer") >= 2 })
			if n := f.refused("malformed"); n != 0 {
				t.Errorf("%v results are called malformed", n)
			}
			for note := ""; note == ""; {
				msg, err := alive.NextMsg(patience)
				if err != nil {
					t.Fatal(err)
				}
				said, err := flow.ParseAlive(msg.Data)
				if err != nil {
					t.Fatal(err)
				}
				note = said.Note
			}
			if n := b.results(t, "RESULTS_DEPTH_LOSSLESS").Msgs; n != 1 {
				t.Fatalf("%d results of depth are kept, want the one", n)
			}
			// A newer program answers instead.
			stream, err := b.bus.JetStream().Stream(t.Context(), "RESULTS_DEPTH_LOSSLESS")
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.DeleteMsg(t.Context(), ack.Sequence); err != nil {
				t.Fatal(err)
			}
			b.publish(t, result(flow.GroupDepth, "cam1", 1))
			b.scenes(t, 2)
			b.drained(t)
		})
	}
}

// Results of the version before, which name no partition, and those of this one join, each in its own.
func TestResultsOfTheVersionBefore(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	defer b.startFuser(t).stop()
	for seq := uint64(1); seq <= 3; seq++ {
		for _, group := range plan {
			r := result(group, "cam1", seq)
			r.Version, r.Partition = 1, 0
			b.publish(t, r)
			b.publish(t, result(group, "cam2", seq))
		}
	}
	for _, scene := range b.scenes(t, 6) {
		if want := map[string]int{"cam1": 1, "cam2": flow.Wire}[scene.Source]; scene.Version != want || scene.Outcome != flow.OutcomeComplete {
			t.Errorf("scene of %s: version %d, %s; want version %d", scene.Source, scene.Version, scene.Outcome, want)
		}
	}
	b.drained(t)
}
