package bus_test

import (
	"testing"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
)

func TestAttempts(t *testing.T) {
	t.Parallel()
	b := provisioned(t)
	id := flow.FrameID{Source: "cam1", Session: "run1", Seq: 7}
	want := func(group string, want int) {
		t.Helper()
		if n, err := b.Attempts(t.Context(), group, id); n != want || err != nil {
			t.Errorf("%s began %d times, %v; want %d", group, n, err, want)
		}
	}
	before := stored(t, b, "KV_"+bus.PositionsBucket)
	want("detect", 0)
	for n := 1; n < 3; n++ {
		if err := b.SetAttempts(t.Context(), "detect", id, n); err != nil {
			t.Fatal(err)
		}
		want("detect", n)
	}
	want("depth", 0)
	if runs, err := b.Runs(t.Context()); err != nil || len(runs) != 0 {
		t.Errorf("runs are %v, %v; want none", runs, err)
	}
	if err := b.SetAttempts(t.Context(), "detect", id, 0); err != nil {
		t.Fatal(err)
	}
	want("detect", 0)
	if after := stored(t, b, "KV_"+bus.PositionsBucket); after != before {
		t.Errorf("the bucket holds %d messages, want %d as before", after, before)
	}
}
