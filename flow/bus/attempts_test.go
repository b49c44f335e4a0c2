package bus_test

import (
	"errors"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
)

func TestAttempts(t *testing.T) {
	t.Parallel()
	b := provisioned(t)
	id := flow.FrameID{Source: "cam1", Session: "run1", Seq: 7}
	none := flow.Attempts{}
	want := func(group string, want flow.Attempts) {
		t.Helper()
		if a, err := b.Attempts(t.Context(), group, id); a != want || err != nil {
			t.Errorf("%s tried %+v, %v; want %+v", group, a, err, want)
		}
	}
	want("detect", none)
	for n, cause := range []flow.Cause{flow.CauseKilled, flow.CauseModel} {
		tried := flow.Attempts{Tries: n + 1, Cause: cause}
		if err := b.SetAttempts(t.Context(), "detect", id, tried); err != nil {
			t.Fatal(err)
		}
		want("detect", tried)
	}
	want("depth", none)
	if runs, err := b.RunRecords(t.Context(), ""); err != nil || len(runs) != 0 {
		t.Errorf("runs are %v, %v; want none", runs, err)
	}
	if err := b.SetAttempts(t.Context(), "detect", id, none); err != nil {
		t.Fatal(err)
	}
	want("detect", none)
	eventually(t, "nothing is left of it", func() bool { return stored(t, b, "KV_"+bus.AttemptsBucket) == 0 })
	kv, err := b.JetStream().KeyValue(t.Context(), bus.AttemptsBucket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(t.Context(), flow.AttemptKey("detect", id), "2"); err != nil {
		t.Fatal(err)
	}
	if a, err := b.Attempts(t.Context(), "detect", id); !errors.Is(err, flow.ErrMessage) || a != none {
		t.Errorf("what is no record: %+v, %v", a, err)
	}
}
