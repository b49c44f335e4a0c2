package join_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/fuser/join"
)

// ramp is a map whose value is its column; spot sets a rectangle in samples to a value.
func ramp(t *testing.T, width, height int, kind depthmap.Kind, spot [4]int, value float32) *depthmap.Map {
	t.Helper()
	values := make([]float32, width*height)
	for i := range values {
		values[i] = float32(i % width)
	}
	for y := spot[1]; y < spot[3]; y++ {
		for x := spot[0]; x < spot[2]; x++ {
			values[y*width+x] = value
		}
	}
	var packer depthmap.Packer
	d, err := packer.Pack(values, width, height, kind, depthmap.DefaultBits)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func withDepth(d *depthmap.Map, boxes ...[4]float32) []*flow.Result {
	detect, depth := result(flow.GroupDetect, "a", 1), result(flow.GroupDepth, "a", 1)
	for _, box := range boxes {
		detect.Detections = append(detect.Detections, flow.Detection{Label: "person", Score: 0.9, Box: box})
	}
	depth.Depth = d
	return []*flow.Result{detect, depth}
}

// fuse makes the scene of a frame whose plan is detect and depth, both required.
func fuse(results []*flow.Result, last *depthmap.Range, unpacker *depthmap.Unpacker, now time.Time) *flow.Scene {
	scene, _ := join.Fuse(join.Joined{Plan: plan, Results: results}, nil, last, unpacker, now)
	return scene
}

func TestBoxDepthIsTheMedianOfTheInnerPart(t *testing.T) {
	t.Parallel()
	// Picture 64x48, map 32x24: the spot covers the middle of the box and no more.
	d := ramp(t, 32, 24, depthmap.InverseRelative, [4]int{12, 8, 20, 16}, 25)
	var unpacker depthmap.Unpacker
	for _, test := range []struct {
		name string
		box  [4]float32
		want float64
	}{
		{"inner part on the spot", [4]float32{16, 8, 48, 40}, 25},
		{"left edge", [4]float32{0, 0, 4, 4}, 1},
		{"a box of no size has one sample", [4]float32{2, 2, 2, 2}, 1},
		{"a box at the far corner", [4]float32{64, 48, 64, 48}, 31},
		{"a box beyond the picture", [4]float32{200, 200, 300, 300}, 31},
	} {
		t.Run(test.name, func(t *testing.T) {
			scene := fuse(withDepth(d, test.box), nil, &unpacker, time.Now())
			if got := scene.Detections[0].Depth; got == nil || math.Abs(float64(got.Value)-test.want) > 1 {
				t.Errorf("depth %+v, want value %v", got, test.want)
			}
		})
	}
}

func TestNearnessFollowsKind(t *testing.T) {
	t.Parallel()
	var unpacker depthmap.Unpacker
	left, right := [4]float32{0, 0, 8, 48}, [4]float32{56, 0, 64, 48} // small values left, large right
	for kind, rightIsNear := range map[depthmap.Kind]bool{depthmap.InverseRelative: true, depthmap.Relative: false, depthmap.Metric: false} {
		scene := fuse(withDepth(ramp(t, 32, 24, kind, [4]int{}, 0), left, right), nil, &unpacker, time.Now())
		l, r := scene.Detections[0].Depth.Nearness, scene.Detections[1].Depth.Nearness
		if (r > l) != rightIsNear || l < 0 || r < 0 || l > 100 || r > 100 {
			t.Errorf("%s: nearness left %v, right %v", kind, l, r)
		}
	}
}

func TestRangeIsStable(t *testing.T) {
	t.Parallel()
	var unpacker depthmap.Unpacker
	steady := ramp(t, 32, 24, depthmap.InverseRelative, [4]int{}, 0)
	first := fuse(withDepth(steady), nil, &unpacker, time.Now())
	jump := ramp(t, 32, 24, depthmap.InverseRelative, [4]int{0, 0, 32, 24}, 310)
	jump.Offset = 310
	second := fuse(withDepth(jump), first.Range, &unpacker, time.Now())
	if moved := second.Range.High - first.Range.High; moved <= 0 || moved > 0.06*(310-first.Range.High) {
		t.Errorf("one map of 310 moved the upper end from %v to %v: want a twentieth of the way", first.Range.High, second.Range.High)
	}
}

func TestErrorsMakeAnErrorSceneThatKeepsTheRest(t *testing.T) {
	t.Parallel()
	var unpacker depthmap.Unpacker
	good := ramp(t, 32, 24, depthmap.InverseRelative, [4]int{}, 0)
	failed := withDepth(good, [4]float32{1, 1, 9, 9})
	failed[1].Depth, failed[1].Error, failed[1].Class = nil, "picture is broken", flow.ClassPicture
	lost := withDepth(good, [4]float32{1, 1, 9, 9})
	lost[1].Depth, lost[1].Error, lost[1].Class, lost[1].Cause = nil, "given up", flow.ClassLost, flow.CauseDeadline
	older := withDepth(good, [4]float32{1, 1, 9, 9})
	older[1].Depth, older[1].Error = nil, "picture is broken"
	torn := withDepth(good, [4]float32{1, 1, 9, 9})
	cut := *good
	cut.Data = cut.Data[:len(cut.Data)/2]
	torn[1].Depth = &cut
	for name, test := range map[string]struct {
		results []*flow.Result
		want    flow.Failure
	}{
		"group error":     {failed, flow.Failure{Class: flow.ClassPicture}},
		"given up":        {lost, flow.Failure{Class: flow.ClassLost, Cause: flow.CauseDeadline}},
		"an older worker": {older, flow.Failure{}},
		"torn map":        {torn, flow.Failure{Class: flow.ClassLost, Cause: flow.CauseModel}},
	} {
		scene := fuse(test.results, nil, &unpacker, time.Now())
		if got, told := scene.Failures[flow.GroupDepth]; got != test.want || told != (test.want.Class != "") || len(scene.Failures) > 1 {
			t.Errorf("%s: failures %v, want %+v", name, scene.Failures, test.want)
		}
		if scene.Outcome != flow.OutcomeError || scene.Errors[flow.GroupDepth] == "" || scene.Depth != nil {
			t.Errorf("%s: outcome %s, errors %v, depth %v", name, scene.Outcome, scene.Errors, scene.Depth)
		}
		if len(scene.Detections) != 1 || scene.Detections[0].Depth != nil {
			t.Errorf("%s: detections %+v, want the one box without depth", name, scene.Detections)
		}
		if err := scene.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLedgerHasEveryHopOnce(t *testing.T) {
	t.Parallel()
	results := withDepth(nil)
	results[1].Depth = nil
	for _, r := range results {
		r.Ledger = []flow.Hop{{Stage: "producer"}, {Stage: r.Group}}
	}
	var unpacker depthmap.Unpacker
	scene := fuse(results, nil, &unpacker, time.Now())
	var stages []string
	for _, hop := range scene.Ledger {
		stages = append(stages, hop.Stage)
	}
	want := []string{"producer", flow.GroupDetect, flow.GroupDepth, "fuser"}
	if len(stages) != len(want) {
		t.Fatalf("stages %v, want %v", stages, want)
	}
	for i := range want {
		if stages[i] != want[i] {
			t.Fatalf("stages %v, want %v", stages, want)
		}
	}
}

// Numbers at the ends of float32 stay numbers: a scene that is not finite could not be written as JSON.
func TestRangeOfHugeNumbersIsFinite(t *testing.T) {
	t.Parallel()
	var packer depthmap.Packer
	var unpacker depthmap.Unpacker
	stable := &depthmap.Range{Low: -2.5e38, High: -2.4e38}
	values := make([]float32, 16*16)
	for i := range values {
		values[i] = 2.5e38 + float32(i)*1e36/256
	}
	huge, err := packer.Pack(values, 16, 16, depthmap.InverseRelative, 10)
	if err != nil {
		t.Fatal(err)
	}
	scene := fuse(withDepth(huge, [4]float32{1, 1, 9, 9}), stable, &unpacker, time.Now())
	if err := scene.Validate(); err != nil {
		t.Errorf("range %+v: %v", scene.Range, err)
	}
	if scene.Range.Low < stable.Low || scene.Range.Low > 0 {
		t.Errorf("range %+v, want a twentieth of the way from %v", scene.Range, stable.Low)
	}
}

func TestSceneWithoutDetectionHasAnEmptyList(t *testing.T) {
	t.Parallel()
	var unpacker depthmap.Unpacker
	depth := &flow.Result{Group: flow.GroupDepth, Depth: ramp(t, 32, 24, depthmap.Metric, [4]int{}, 0)}
	scene := fuse([]*flow.Result{depth}, nil, &unpacker, time.Now())
	if scene.Detections == nil || len(scene.Detections) != 0 {
		t.Errorf("detections are %#v, which readers can't iterate over", scene.Detections)
	}
}

// What a group says in its own words travels on under its name; what a shadow says is not shown, and its silence is no lack.
func TestSceneOfAnswersAndShadows(t *testing.T) {
	t.Parallel()
	var unpacker depthmap.Unpacker
	results := withDepth(ramp(t, 32, 24, depthmap.Metric, [4]int{}, 0), [4]float32{1, 1, 9, 9})
	results[0].Answers = map[string]msgpack.RawMessage{"count": {0x07}}
	shadow := result("pose", "a", 1)
	shadow.Detections = []flow.Detection{{Label: "ghost", Score: 1}}
	shadow.Error, shadow.Depth, shadow.Width = "shadow fails", results[1].Depth, 9999
	shadow.Answers = map[string]msgpack.RawMessage{"secret": {0x01}}
	plan := []string{flow.GroupDetect, flow.GroupDepth, "pose", "gone"}
	needs := join.Needs{"pose": join.Shadow, "gone": join.Shadow}
	scene, _ := join.Fuse(join.Joined{Plan: plan, Results: append(results, shadow)}, needs, nil, &unpacker, time.Now())
	if scene.Outcome != flow.OutcomeComplete || len(scene.Detections) != 1 || scene.Missing != nil || scene.Errors != nil || scene.Width != 64 {
		t.Errorf("a shadow changed the scene: %+v", scene)
	}
	if len(scene.Answers) != 1 || string(scene.Answers[flow.GroupDetect]["count"]) != "\a" {
		t.Errorf("answers %v, want those of detect", scene.Answers)
	}
	needs["gone"] = join.Optional
	scene, _ = join.Fuse(join.Joined{Plan: plan, Results: results}, needs, nil, &unpacker, time.Now())
	if scene.Outcome != flow.OutcomePartial || !slices.Equal(scene.Missing, []string{"gone"}) {
		t.Errorf("outcome %s, missing %v, want partial without the optional group", scene.Outcome, scene.Missing)
	}
}
