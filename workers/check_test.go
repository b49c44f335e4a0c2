package workers_test

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/flow/reference"
	"github.com/spatial-flow/spatial-flow/workers/depth"
	"github.com/spatial-flow/spatial-flow/workers/detect"
	"github.com/spatial-flow/spatial-flow/workers/engine"
	"github.com/spatial-flow/spatial-flow/workers/model"
	"github.com/spatial-flow/spatial-flow/workers/models"
)

// spoiled is an engine whose output is changed before it is looked at.
type spoiled struct {
	model.Engine
	spoil func(output []float32, shape []int64) ([]float32, []int64)
}

func (s spoiled) Run(ctx context.Context, t model.Tensors) ([]float32, []int64, error) {
	output, shape, err := s.Engine.Run(ctx, t)
	if err == nil && s.spoil != nil {
		output, shape = s.spoil(output, shape)
	}
	return output, shape, err
}

func openDetect(t testing.TB) (*engine.Session, *detect.Model) {
	t.Helper()
	session := openSession(t, engine.File{Name: "nocost_detect.onnx", Data: models.NoCostDetect})
	m, err := detect.Open(session.Graph, detect.Settings{Confidence: 0.25, IoU: 0.7, Most: 300, Size: 640})
	if err != nil {
		t.Fatal(err)
	}
	return session, m
}

func openDepth(t testing.TB) (*engine.Session, *depth.Model) {
	t.Helper()
	session := openSession(t, engine.File{Name: "nocost_depth.onnx", Data: models.NoCostDepth})
	m, err := depth.Open(session.Graph, depth.Settings{Size: 252, Bits: depthmap.DefaultBits})
	if err != nil {
		t.Fatal(err)
	}
	return session, m
}

// The models that come with the program are what they are taken for, at the sizes at which they are run first.
func TestDemoModelsAreUnderstood(t *testing.T) {
	t.Parallel()
	for _, group := range []string{flow.GroupDetect, flow.GroupDepth} {
		name, data := models.Demo(group)
		session := openSession(t, engine.File{Name: name, Data: data})
		var m model.Model
		var err error
		if group == flow.GroupDepth {
			m, err = depth.Open(session.Graph, depth.Settings{Size: 518, Bits: depthmap.DefaultBits})
		} else {
			m, err = detect.Open(session.Graph, detect.Settings{Confidence: 0.25, IoU: 0.7, Most: 300, Size: 640})
		}
		if err == nil {
			err = model.Check(t.Context(), model.On(session), m)
		}
		if err != nil {
			t.Errorf("%s: %v", group, err)
		}
	}
}

func value(at int, v float64) func([]float32, []int64) ([]float32, []int64) {
	return func(output []float32, shape []int64) ([]float32, []int64) {
		output[at] = float32(v)
		return output, shape
	}
}

// What a model that loads does not keep of its promises is found before its first frame.
func TestCheck(t *testing.T) {
	t.Parallel()
	type spoil = func([]float32, []int64) ([]float32, []int64)
	const anchors = 8400
	for name, test := range map[string]struct {
		depth bool
		spoil spoil
		says  string // nothing: it passes
	}{
		"a detector":     {},
		"a score of 314": {spoil: value(10*anchors, 314), says: "anchor 0 has the score 314"},
		"a score below 0": {spoil: func(o []float32, s []int64) ([]float32, []int64) {
			for c := range 80 {
				o[(4+c)*anchors+8399] = -0.7
			}
			return o, s
		}, says: "anchor 8399 has the score -0.7"},
		"scores that are not numbers": {spoil: value(4*anchors+7, math.NaN()), says: "anchor 7 has the score NaN"},
		"a score one step above 1":    {spoil: value(10*anchors, 1.004)},
		"a box that is not finite":    {spoil: value(0, math.Inf(1)), says: "a box is"},
		"other anchors":               {spoil: func(o []float32, s []int64) ([]float32, []int64) { return o[:84*7999], []int64{1, 84, 7999} }, says: "7999 anchors for an input of 640x640"},
		"rows of boxes":               {spoil: func(o []float32, s []int64) ([]float32, []int64) { return o, []int64{1, anchors, 84} }, says: "want [1,84,anchors]"},
		"a head of strides from 4": {spoil: func(_ []float32, _ []int64) ([]float32, []int64) {
			return make([]float32, 84*34000), []int64{1, 84, 34000}
		}},
		"a depth model":             {depth: true},
		"a depth that is no number": {depth: true, spoil: value(3, math.NaN()), says: "value 3 of"},
		"a depth without end":       {depth: true, spoil: value(3, math.Inf(-1)), says: "value 3 of"},
		"a map of another aspect":   {depth: true, spoil: func(o []float32, _ []int64) ([]float32, []int64) { return o[:252*252], []int64{1, 252, 252} }, says: "its size was fixed"},
		"a map with a channel":      {depth: true, spoil: func(o []float32, s []int64) ([]float32, []int64) { return o, []int64{1, 1, s[1], s[2]} }, says: "want [1,H,W]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var session *engine.Session
			var m model.Model
			if session, m = nil, nil; test.depth {
				session, m = openDepth(t)
			} else {
				session, m = openDetect(t)
			}
			err := model.Check(t.Context(), spoiled{model.On(session), test.spoil}, m)
			if test.says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, model.ErrOutput) {
				t.Fatalf("%v, want ErrOutput", err)
			}
			for _, text := range []string{test.says, session.Name, m.Description().String(), "another task"} {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q does not say %q", err, text)
				}
			}
		})
	}
}

func TestDemoModelsPassTheCheck(t *testing.T) {
	t.Parallel()
	for _, group := range []string{detects, estimates} {
		name, data := models.Demo(group)
		session := openSession(t, engine.File{Name: name, Data: data})
		var m model.Model
		var err error
		if group == estimates {
			m, err = depth.Open(session.Graph, depth.Settings{Size: 252, Bits: depthmap.DefaultBits})
		} else {
			m, err = detect.Open(session.Graph, detect.Settings{Confidence: 0.25, IoU: 0.7, Most: 300, Size: 640})
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := model.Check(t.Context(), model.On(session), m); err != nil {
			t.Error(err)
		}
	}
}

// Whoever is supported passes the check.
func TestSupportedModelsPassTheCheck(t *testing.T) {
	t.Parallel()
	folder := reference.Path(t)
	for _, name := range []string{
		"yolov8_static320", "yolov8_dynamic", "yolov8_names", "yolov5u_static320", "yolov9_static320", "yolo11_static320", "yolo26_raw",
		"da_v2_dynamic", "da_v2_static252", "da_v1_dynamic",
	} {
		t.Run(name, func(t *testing.T) {
			session := openSession(t, engine.File{Path: filepath.Join(folder, "vectors", name, "model.onnx")})
			var m model.Model
			var err error
			if strings.HasPrefix(name, "da_") {
				m, err = depth.Open(session.Graph, depth.Settings{Size: 252, Bits: depthmap.DefaultBits})
			} else {
				m, err = detect.Open(session.Graph, detect.Settings{Confidence: 0.25, IoU: 0.7, Most: 300, Size: 320})
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := model.Check(t.Context(), model.On(session), m); err != nil {
				t.Error(err)
			}
		})
	}
}

// A file of another task whose metadata were lost may look like a detector: its output tells.
func TestOtherTaskWithoutMetadataIsFoundOut(t *testing.T) {
	t.Parallel()
	session := openSession(t, engine.File{Path: reference.Path(t, "vectors", "yolov8_pose", "model.onnx")})
	session.Metadata = map[string]string{}
	m, err := detect.Open(session.Graph, detect.Settings{Confidence: 0.25, IoU: 0.7, Most: 300, Size: 320})
	if err != nil {
		t.Fatalf("it is refused already: %v", err)
	}
	if err := model.Check(t.Context(), model.On(session), m); !errors.Is(err, model.ErrOutput) || !strings.Contains(err.Error(), "has the score") {
		t.Errorf("%v, want ErrOutput of a score", err)
	}
}
