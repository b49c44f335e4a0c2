package fleet

import (
	"fmt"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
)

func producerWith(live int) flow.Alive {
	return flow.Alive{Stage: "producer", SourceCount: live + 5, LiveSources: live}
}

// Credits are shared among live sources that run and have pictures, wherever they are, and among nobody else.
func TestLiveSourcesAreCounted(t *testing.T) {
	t.Parallel()
	f, now := New("own"), time.Unix(1000, 0)
	want := func(what string, mine, all int) {
		t.Helper()
		if m, a := f.LiveSources(); m != mine || a != all {
			t.Errorf("%s: %d of %d live sources are here, want %d of %d", what, m, a, mine, all)
		}
	}
	want("nobody is heard", 1, 1)
	f.Hear("own", producerWith(3), now)
	for i := range 63 {
		f.Hear(fmt.Sprintf("films%d", i), producerWith(0), now)
	}
	f.Hear("worker", flow.Alive{Stage: "detect", Parallel: 8}, now)
	want("beside 63 producers of films", 3, 3)
	f.Hear("cameras", producerWith(63), now)
	old := flow.Alive{Stage: "producer"} // of before totals were told
	for i, state := range []flow.State{flow.StateStopped, flow.StateFailed, flow.StateComplete, flow.StateRunning} {
		old.Sources = append(old.Sources, flow.SourceStatus{Source: fmt.Sprint("cam", i), Mode: flow.ModeLive, State: state})
	}
	f.Hear("old", old, now)
	want("beside 63 cameras, and four sources of which one runs", 3, 67)
	if slots := f.Slots("detect"); slots != 8 {
		t.Errorf("%d slots, want 8", slots)
	}
	f.Hear("own", producerWith(3), now.Add(2*time.Second))
	f.forget(now.Add(4 * time.Second))
	want("the others are gone", 3, 3)
	if f.Slots("detect") != 0 {
		t.Error("a worker that is gone has slots")
	}
}

func TestFleetIsBounded(t *testing.T) {
	t.Parallel()
	f := New("own")
	for i := range 2 * mostHeard {
		f.Hear(fmt.Sprint(i), producerWith(1), time.Unix(1000, 0))
	}
	if len(f.heard) != mostHeard {
		t.Errorf("%d services are remembered, at most %d", len(f.heard), mostHeard)
	}
}
