package eval_test

import (
	"math"
	"strings"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/standalone/eval"
)

// frame is a picture of 4x1 pixels with true depths 1, 2, 4, 8 m whose map is right but for a scale and a shift, and one
// dog at 2 m, found, its nearness as given.
func frame(seq uint64, nearness float32) eval.Frame {
	dog := truth("dog", 1, 0, 2, 1)
	dog.Instance, dog.Distance = 7, 2
	d := found("dog", 0.9, 1, 0, 2, 1)
	d.Depth = &flow.BoxDepth{Value: 500, Kind: depthmap.InverseRelative, Nearness: nearness}
	return eval.Frame{
		Source: "street", Seq: seq, Truths: []eval.Truth{dog}, Depth: []float32{1, 2, 4, 8}, Width: 4, Height: 1,
		Scene:   &flow.Scene{Source: "street", Seq: seq, Detections: []flow.Detection{d}, Depth: &depthmap.Map{Width: 4, Height: 1, Scale: 1}},
		Samples: []uint16{1000, 500, 250, 125},
	}
}

func TestEvaluation(t *testing.T) {
	t.Parallel()
	var e eval.Evaluation
	for seq, nearness := range []float32{1: 40, 2: 50, 3: 60, 4: 60, 6: 90} { // 4 → 6: not in a row
		if nearness == 0 {
			continue
		}
		if err := e.Add(frame(uint64(seq), nearness)); err != nil {
			t.Fatal(err)
		}
	}
	r := e.Report()
	if r.Frames != 5 || r.Truths != 5 || r.Matched != 5 || r.Pipeline.MAP50 != 1 || math.Abs(r.Pipeline.Depth.Delta1-1) > 1e-9 || r.Pipeline.Depth.AbsRel > 1e-6 {
		t.Errorf("report %+v", r)
	}
	if r.Distance > 1e-6 || math.Abs(r.Flicker-2.5) > 1e-6 { // (0 + |50-120+60|/2) / 2
		t.Errorf("distance error %v, flicker %v; want 0, 2.5", r.Distance, r.Flicker)
	}
	if r.Baseline.Depth.Delta1 > 0.5 || r.Baseline.MAP50 != 1 { // one dog that never moves: its mean box is it
		t.Errorf("baseline %+v", r.Baseline)
	}
	var table strings.Builder
	if err := r.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"mAP50", "δ1", "AbsRel", "baseline", "flicker", "dog"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("no %q in\n%s", want, table.String())
		}
	}
}

// What is wrong must be seen: a wrong label, a wrong depth, a box at a wrong distance.
func TestEvaluationSeesErrors(t *testing.T) {
	t.Parallel()
	var e eval.Evaluation
	f := frame(1, 50)
	f.Samples = []uint16{125, 1000, 250, 500}
	f.Scene.Detections[0].Depth.Value = 125
	if err := e.Add(f); err != nil {
		t.Fatal(err)
	}
	f = frame(2, 50)
	f.Scene.Detections[0].Label = "cat"
	if err := e.Add(f); err != nil {
		t.Fatal(err)
	}
	r := e.Report()
	if r.Pipeline.MAP50 > 0.6 || r.Pipeline.Depth.Delta1 > 0.75 || r.Distance < 0.1 || r.Matched != 1 {
		t.Errorf("report %+v", r)
	}
}

func TestEvaluationWithoutDepth(t *testing.T) {
	t.Parallel()
	var e eval.Evaluation
	f := frame(1, 50)
	f.Scene.Depth, f.Samples, f.Scene.Detections[0].Depth = nil, nil, nil
	if err := e.Add(f); err != nil {
		t.Fatal(err)
	}
	if r := e.Report(); r.Pipeline.MAP50 != 1 || r.Matched != 0 || math.IsNaN(r.Distance+r.Flicker+r.Pipeline.Depth.AbsRel) {
		t.Errorf("report %+v", r)
	}
}
