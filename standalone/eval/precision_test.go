package eval_test

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/standalone/eval"
)

func found(label string, score float32, box ...float32) flow.Detection {
	return flow.Detection{Label: label, Score: score, Box: [4]float32(box)}
}

func truth(label string, box ...float32) eval.Truth {
	return eval.Truth{Label: label, Box: [4]float32(box)}
}

func ignored(t eval.Truth) eval.Truth {
	t.Ignored = true
	return t
}

// Each value was worked out by hand from COCO's definition.
func TestPrecisionByHand(t *testing.T) {
	t.Parallel()
	square := truth("dog", 0, 0, 100, 100)
	other := truth("dog", 200, 0, 300, 100)
	tests := map[string]struct {
		truths     []eval.Truth
		detections []flow.Detection
		at50, mean float64
	}{
		"all found":      {[]eval.Truth{square}, []flow.Detection{found("dog", 0.9, 0, 0, 100, 100)}, 1, 1},
		"nothing found":  {[]eval.Truth{square}, nil, 0, 0},
		"another class":  {[]eval.Truth{square}, []flow.Detection{found("cat", 0.9, 0, 0, 100, 100)}, 0, 0},
		"IoU .8 exactly": {[]eval.Truth{square}, []flow.Detection{found("dog", 0.9, 0, 0, 80, 100)}, 1, 0.7}, // .50 … .80
		"half of two":    {[]eval.Truth{square, other}, []flow.Detection{found("dog", 0.9, 0, 0, 100, 100)}, 51.0 / 101, 51.0 / 101},
		"found twice": { // the second one is wrong, after all recall is reached
			[]eval.Truth{square},
			[]flow.Detection{found("dog", 0.9, 0, 0, 100, 100), found("dog", 0.8, 0, 0, 100, 100)}, 1, 1,
		},
		"a wrong one first": { // precision 0, 1/2, 2/3: the envelope is 2/3 everywhere
			[]eval.Truth{square, other},
			[]flow.Detection{found("dog", 0.9, 400, 0, 500, 100), found("dog", 0.8, 0, 0, 100, 100), found("dog", 0.7, 200, 0, 300, 100)},
			2.0 / 3, 2.0 / 3,
		},
		"the better match is taken": { // both boxes overlap the truth; the stronger one takes it, the better one is wrong
			[]eval.Truth{square},
			[]flow.Detection{found("dog", 0.7, 0, 0, 100, 100), found("dog", 0.9, 0, 0, 60, 100)},
			1, (3*1 + 7*0.5) / 10, // at .50 … .60 the first; above it is wrong, and the second gets 1/2
		},
		"an ignored one found": {
			[]eval.Truth{square, ignored(other)},
			[]flow.Detection{found("dog", 0.9, 200, 0, 300, 100), found("dog", 0.8, 0, 0, 100, 100)}, 1, 1,
		},
		"an ignored one not found": {[]eval.Truth{square, ignored(other)}, []flow.Detection{found("dog", 0.9, 0, 0, 100, 100)}, 1, 1},
		"a true one before an ignored one": { // IoU .6 with the true one counts more than 1 with the ignored one
			[]eval.Truth{ignored(square), truth("dog", 0, 0, 60, 100)},
			[]flow.Detection{found("dog", 0.9, 0, 0, 100, 100)}, 1, 0.3,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var p eval.Precision
			p.Add(test.truths, test.detections)
			at50, mean := p.Mean()
			if math.Abs(at50-test.at50) > 1e-9 || math.Abs(mean-test.mean) > 1e-9 {
				t.Errorf("AP50 %v, AP50-95 %v; want %v, %v", at50, mean, test.at50, test.mean)
			}
		})
	}
}

func TestWhatDoesNotCountIsNoMistake(t *testing.T) {
	t.Parallel()
	var p eval.Precision
	p.Countable = func(d flow.Detection) bool { return d.Box[3]-d.Box[1] >= 12 }
	p.Add([]eval.Truth{truth("dog", 0, 0, 100, 100)}, []flow.Detection{found("dog", 0.9, 300, 0, 310, 11), found("dog", 0.8, 0, 0, 100, 100)})
	if at50, _ := p.Mean(); at50 != 1 {
		t.Errorf("AP50 %v with a small wrong box, want 1", at50)
	}
}

// TestPrecisionAgainstPycocotools compares with testdata/coco.json, which testdata/coco.py made.
func TestPrecisionAgainstPycocotools(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/coco.json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Images []struct {
			Truths     []eval.Truth
			Detections []flow.Detection
		}
		MAP50   float64 `json:"map50"`
		MAP5095 float64 `json:"map50_95"`
		Classes map[string]eval.ClassPrecision
	}
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	var p eval.Precision
	for _, image := range want.Images {
		p.Add(image.Truths, image.Detections)
	}
	close := func(what string, got, want float64) {
		if math.Abs(got-want) > 1e-6 {
			t.Errorf("%s: %v, pycocotools says %v", what, got, want)
		}
	}
	at50, mean := p.Mean()
	close("mAP50", at50, want.MAP50)
	close("mAP50-95", mean, want.MAP5095)
	for _, c := range p.Classes() {
		close(c.Label+" AP50", c.AP50, want.Classes[c.Label].AP50)
		close(c.Label+" AP50-95", c.AP5095, want.Classes[c.Label].AP5095)
	}
	if len(p.Classes()) != len(want.Classes) || want.MAP50 < 0.1 {
		t.Errorf("%d classes, %d in the reference", len(p.Classes()), len(want.Classes))
	}
}
