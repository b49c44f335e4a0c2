package standalone

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/spatial-flow/spatial-flow/producer/street"
	"github.com/spatial-flow/spatial-flow/standalone/eval"
)

// TestDemoModels is the short evaluation: held-out streets through the real pipeline with the models that ship. Its
// bounds lie a little below what the models' cards say of 500 frames.
func TestDemoModels(t *testing.T) {
	t.Parallel()
	e := Eval{Source: "street:?seed=500000&fps=5&split=held-out", Seeds: 10, Frames: 60, JSON: true, Models: Models{Parallel: 2, DepthSize: 518, Provider: "cpu"}}
	var out strings.Builder
	if err := e.Evaluate(t.Context(), &out, io.Discard, quiet); err != nil {
		t.Fatal(err)
	}
	var r eval.Report
	if err := json.Unmarshal([]byte(out.String()), &r); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	p, b := r.Pipeline, r.Baseline
	if r.Frames != 60 || r.Truths < 400 {
		t.Errorf("%d frames with %d boxes", r.Frames, r.Truths)
	}
	if p.MAP50 < 0.80 || p.MAP5095 < 0.50 {
		t.Errorf("mAP50 %.3f, mAP50-95 %.3f; want 0.80, 0.50", p.MAP50, p.MAP5095)
	}
	if p.Depth.Delta1 < 0.92 || p.Depth.AbsRel > 0.08 || r.Distance > 0.08 {
		t.Errorf("δ1 %.3f, AbsRel %.3f, distance error %.3f; want 0.92, 0.08, 0.08", p.Depth.Delta1, p.Depth.AbsRel, r.Distance)
	}
	if b.MAP50 > 0.2 || b.Depth.Delta1 > 0.5 || b.Depth.AbsRel < 0.3 {
		t.Errorf("the baseline should fail: %+v", b)
	}
}

func TestEvalRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		e    Eval
		want error
	}{
		"no street":        {Eval{Source: "clip.avi", Seeds: 1, Frames: 1}, street.ErrParameter},
		"no seeds":         {Eval{Source: "street:", Frames: 1}, ErrUsage},
		"too few frames":   {Eval{Source: "street:", Seeds: 2, Frames: 1}, ErrUsage},
		"both groups left": {Eval{Source: "street:", Seeds: 1, Frames: 1, Models: Models{Parallel: 1, DepthSize: 518, DetectModel: None, DepthModel: None}}, ErrNoModel},
	} {
		if err := test.e.Evaluate(t.Context(), io.Discard, io.Discard, quiet); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}
