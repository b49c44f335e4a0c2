package flow_test

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/vmihailenco/msgpack/v5"
)

var (
	nan = float32(math.NaN())
	inf = float32(math.Inf(1))
)

func hops(n int) []flow.Hop { return slices.Repeat([]flow.Hop{{Stage: "detect"}}, n) }

func answers(keys, size int) map[string]msgpack.RawMessage {
	all := map[string]msgpack.RawMessage{}
	for i := range keys {
		all[fmt.Sprint("key", i)] = make([]byte, size)
	}
	return all
}

func TestResultValidate(t *testing.T) {
	checkChanges(t, sampleResult, []change[*flow.Result]{
		{"an error", func(r *flow.Result) { r.Error, r.Detections, r.Depth = "broken", nil, nil }, nil},
		{"dropped", func(r *flow.Result) { r.Mode, r.Dropped, r.Detections, r.Depth = flow.ModeLive, "expired", nil, nil }, nil},
		{"a box beyond the picture", func(r *flow.Result) { r.Detections[0].Box = [4]float32{-5, -5, 9000, 9000} }, nil},
		{"score 0", func(r *flow.Result) { r.Detections[0].Score = 0 }, nil},
		{"score 1", func(r *flow.Result) { r.Detections[0].Score = 1 }, nil},
		{"source", func(r *flow.Result) { r.Source = ">" }, flow.ErrFrameID},
		{"seq", func(r *flow.Result) { r.Seq = 0 }, flow.ErrFrameID},
		{"no version", func(r *flow.Result) { r.Version = 0 }, flow.ErrMessage},
		{"later version", func(r *flow.Result) { r.Version = flow.Wire + 1 }, flow.ErrNewer},
		{"a ledger as long as it may be", func(r *flow.Result) { r.Ledger = hops(flow.MaxHops) }, nil},
		{"long ledger", func(r *flow.Result) { r.Ledger = hops(flow.MaxHops + 1) }, flow.ErrMessage},
		{"stage of a hop", func(r *flow.Result) { r.Ledger[0].Stage = "a stage" }, flow.ErrMessage},
		{"long label", func(r *flow.Result) { r.Detections[0].Label = strings.Repeat("l", flow.MaxText+1) }, flow.ErrMessage},
		{"long model", func(r *flow.Result) { r.Model = strings.Repeat("m", flow.MaxText+1) }, flow.ErrMessage},
		{"answers", func(r *flow.Result) { r.Answers = answers(flow.MaxAnswers, 16) }, nil},
		{"too many answers", func(r *flow.Result) { r.Answers = answers(flow.MaxAnswers+1, 16) }, flow.ErrMessage},
		{"large answers", func(r *flow.Result) { r.Answers = answers(2, flow.MaxAnswerSize/2) }, flow.ErrMessage},
		{"key of an answer", func(r *flow.Result) { r.Answers = map[string]msgpack.RawMessage{"a b": {1}} }, flow.ErrMessage},
		{"group", func(r *flow.Result) { r.Group = "a.b" }, flow.ErrMessage},
		{"mode", func(r *flow.Result) { r.Mode = "" }, flow.ErrMessage},
		{"no plan", func(r *flow.Result) { r.Plan = nil }, flow.ErrMessage},
		{"group twice in the plan", func(r *flow.Result) { r.Plan = []string{"detect", "depth", "detect"} }, flow.ErrMessage},
		{"negative score", func(r *flow.Result) { r.Detections[0].Score = -0.01 }, flow.ErrMessage},
		{"score above 1", func(r *flow.Result) { r.Detections[0].Score = 1.01 }, flow.ErrMessage},
		{"score is no number", func(r *flow.Result) { r.Detections[0].Score = nan }, flow.ErrMessage},
		{"box is no number", func(r *flow.Result) { r.Detections[0].Box[2] = nan }, flow.ErrMessage},
		{"infinite box", func(r *flow.Result) { r.Detections[0].Box[3] = -inf }, flow.ErrMessage},
		{"depth map", func(r *flow.Result) { r.Depth.Width = 0 }, depthmap.ErrMap},
		{"depth map of infinite values", func(r *flow.Result) { r.Depth.Offset, r.Depth.Scale = 3e38, 3e38 }, depthmap.ErrMap},
	})
}

func TestSceneValidate(t *testing.T) {
	checkChanges(t, sampleScene, []change[*flow.Scene]{
		{"complete", func(s *flow.Scene) { s.Outcome = flow.OutcomeComplete }, nil},
		{"partial", func(s *flow.Scene) { s.Mode, s.Outcome = flow.ModeLive, flow.OutcomePartial }, nil},
		{"nothing found, no depth", func(s *flow.Scene) { s.Detections, s.Depth, s.Range, s.Held, s.Ledger = nil, nil, nil, nil, nil }, nil},
		{"session", func(s *flow.Scene) { s.Session = "a b" }, flow.ErrFrameID},
		{"no version", func(s *flow.Scene) { s.Version = 0 }, flow.ErrMessage},
		{"later version", func(s *flow.Scene) { s.Version = flow.Wire + 1 }, flow.ErrNewer},
		{"mode", func(s *flow.Scene) { s.Mode = "soon" }, flow.ErrMessage},
		{"outcome", func(s *flow.Scene) { s.Outcome = "fine" }, flow.ErrMessage},
		{"no plan", func(s *flow.Scene) { s.Plan = nil }, flow.ErrMessage},
		{"box is no number", func(s *flow.Scene) { s.Detections[0].Box[0] = nan }, flow.ErrMessage},
		{"depth of a box is no number", func(s *flow.Scene) { s.Detections[0].Depth.Value = nan }, flow.ErrMessage},
		{"infinite nearness", func(s *flow.Scene) { s.Detections[0].Depth.Nearness = inf }, flow.ErrMessage},
		{"range is no number", func(s *flow.Scene) { s.Range.Low = nan }, flow.ErrMessage},
		{"infinite range", func(s *flow.Scene) { s.Range.High = inf }, flow.ErrMessage},
		{"answers", func(s *flow.Scene) { s.Answers = map[string]map[string]msgpack.RawMessage{"pose": answers(3, 9)} }, nil},
		{"large answers", func(s *flow.Scene) {
			s.Answers = map[string]map[string]msgpack.RawMessage{"pose": answers(1, flow.MaxAnswerSize)}
		}, flow.ErrMessage},
		{"answers of no group", func(s *flow.Scene) { s.Answers = map[string]map[string]msgpack.RawMessage{"Pose": nil} }, flow.ErrMessage},
		{"depth map", func(s *flow.Scene) {
			s.Depth = &depthmap.Map{Width: 1, Height: 1, Kind: "far", Bits: 10, Scale: 1}
		}, depthmap.ErrMap},
	})
}

// Programs read these lines: a change here is a change for them.
func TestSceneLine(t *testing.T) {
	full := &flow.Scene{
		Version: flow.Wire, Source: "cam1", Session: "run1", Seq: 7, Mode: flow.ModeLossless,
		Captured: time.Date(2026, 11, 23, 18, 40, 0, 120e6, time.UTC).UnixNano(), Width: 768, Height: 576,
		Plan: []string{"detect", "depth"}, Outcome: flow.OutcomeComplete,
		Detections: []flow.Detection{
			{Label: "person", ClassID: 0, Score: 0.875, Box: [4]float32{1, 2.5, 300, 400}, Depth: &flow.BoxDepth{Value: 3.25, Kind: depthmap.Metric, Nearness: 62.5}},
			{Label: "<b>\u2028", ClassID: 2, Score: 1, Box: [4]float32{0, 0, 1, 1}},
		},
		Depth:  &depthmap.Map{Width: 2, Height: 1, Kind: depthmap.Metric, Bits: 10, Scale: 1, Data: []byte{1}},
		Range:  &depthmap.Range{Low: 1, High: 9},
		Ledger: []flow.Hop{{Stage: "producer", Wait: 0, Work: 2 * time.Millisecond}, {Stage: "detect", Wait: 1500, Work: 60 * time.Millisecond}},
	}
	const fullLine = `{"frame":{"source":"cam1","session":"run1","seq":7},"captured":"2026-11-23T18:40:00.12Z","size":[768,576],` +
		`"plan":["detect","depth"],"detections":[` +
		`{"label":"person","class_id":0,"score":0.875,"bbox":[1,2.5,300,400],"depth":{"value":3.25,"kind":"metric","nearness":62.5}},` +
		`{"label":"\u003cb\u003e\u2028","class_id":2,"score":1,"bbox":[0,0,1,1]}],` +
		`"outcome":"complete","missing":[],"held":null,` +
		`"ledger":[{"stage":"producer","wait_ns":0,"work_ns":2000000},{"stage":"detect","wait_ns":1500,"work_ns":60000000}]}` + "\n"
	failed := &flow.Scene{
		Version: flow.Wire, Source: "cam2", Session: "s", Seq: 1, Mode: flow.ModeLive, Plan: []string{"detect", "depth"},
		Outcome: flow.OutcomeError, Missing: []string{"depth"}, Errors: map[string]string{"detect": "broken\n"}, Held: &flow.Held{Seq: 3, Age: time.Second},
	}
	const failedLine = `{"frame":{"source":"cam2","session":"s","seq":1},"captured":"1970-01-01T00:00:00Z","size":[0,0],` +
		`"plan":["detect","depth"],"detections":[],"outcome":"error","missing":["depth"],"errors":{"detect":"broken\n"},` +
		`"held":{"seq":3,"age_ns":1000000000},"ledger":[]}` + "\n"
	line, err := full.AppendLine([]byte("before|"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(line), "before|"+fullLine; got != want {
		t.Errorf("scene became\n%s\nwant\n%s", got, want)
	}
	line, err = failed.AppendLine(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(line); got != failedLine {
		t.Errorf("failed scene became\n%s\nwant\n%s", got, failedLine)
	}
	if strings.Count(string(line), "\n") != 1 {
		t.Errorf("a scene is not one line: %q", line)
	}
}

// Lists are never null, so that readers need not ask.
func TestSceneJSONHasNoNullLists(t *testing.T) {
	line, err := new(flow.Scene).AppendLine(nil)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(line, &fields); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"plan", "detections", "missing", "ledger"} {
		if got := string(fields[key]); got != "[]" {
			t.Errorf("%q of an empty scene is %s, want []", key, got)
		}
	}
}
