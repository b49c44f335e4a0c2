package workers_test

import (
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/flow/reference"
	"github.com/spatial-flow/spatial-flow/workers/depth"
	"github.com/spatial-flow/spatial-flow/workers/detect"
	"github.com/spatial-flow/spatial-flow/workers/engine"
	"github.com/spatial-flow/spatial-flow/workers/models"
)

// openAs opens a model as a group would.
func openAs(session *engine.Session, group string) error {
	if group == flow.GroupDepth {
		_, err := depth.Open(session.Graph, depth.Settings{Size: 518, Bits: depthmap.DefaultBits})
		return err
	}
	_, err := detect.Open(session.Graph, detect.Settings{Confidence: 0.25, IoU: 0.7, Most: 300, Size: 640})
	return err
}

// A model of another kind is refused when it is loaded, with its name, what it is, and what is wanted: it must never
// run and answer nonsense.
func TestOtherModelsAreRefused(t *testing.T) {
	t.Parallel()
	folder := reference.Path(t)
	const detects, estimates = flow.GroupDetect, flow.GroupDepth
	for _, test := range []struct{ name, group, says string }{
		{"yolov8_nms", detects, "nms=True"},
		{"yolo26_e2e", detects, "end-to-end"},
		{"yolov10_e2e", detects, "end-to-end"},
		{"yolov8_seg", detects, `task is "segment"`},
		{"yolov8_pose", detects, `task is "pose"`},
		{"yolov8_fp16", detects, "half-precision"},
		{"yolov8_batch4", detects, "input images is [4 3 320 320]"},
		{"yolox_static320", detects, "output is [1 2100 85]"},
		{"dfine_320", detects, "it has 2 inputs"},
		{"yolo26_depth", detects, `task is "depth"`},
		{"da_v2_dynamic", detects, "predicted_depth is [-1 -1 -1]"},
		{"da_v2_static252", detects, "predicted_depth is [1 252 252]"},
		{"fabio_da_v2_252", detects, "depth is [1 252 252]"},
		{"dpt_static384", detects, "predicted_depth is [-1 384 384]"},

		{"dpt_static384", estimates, "[1 3 384 384], whose sides are no multiples of 14"},
		{"fabio_da_v2_252", estimates, "input is called image, its output depth"},
		{"yolo26_depth", estimates, "input is called images, its output output0"},
		{"yolov8_static320", estimates, "input is called images, its output output0"},
		{"yolov8_seg", estimates, "1 inputs and 2 outputs"},
		{"dfine_320", estimates, "2 inputs and 3 outputs"},
	} {
		t.Run(test.group+"/"+test.name, func(t *testing.T) {
			session := openSession(t, engine.File{Path: filepath.Join(folder, "vectors", test.name, "model.onnx")})
			err := openAs(session, test.group)
			unsupported, wanted := detect.ErrUnsupported, "supported: the raw head of YOLOv8"
			if test.group == estimates {
				unsupported, wanted = depth.ErrUnsupported, "supported: Depth Anything V1 and V2"
			}
			if !errors.Is(err, unsupported) {
				t.Fatalf("%v, want %q", err, unsupported)
			}
			for _, text := range []string{"model.onnx", test.says, wanted} {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q does not say %q", err, text)
				}
			}
		})
	}
}

// What the file says of itself decides; each of these is the model of no cost, whose shapes are right, but for that.
func TestMetadataDecides(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		key, value, says string // no says: it is taken
	}{
		"as it is":                   {},
		"without a task":             {"task", "", ""},
		"another task":               {"task", "obb", `task is "obb"`},
		"end-to-end":                 {"end2end", "True", "end-to-end"},
		"not end-to-end":             {"end2end", "False", ""},
		"suppression inside":         {"args", "{'nms': True}", "nms=True"},
		"no arguments":               {"args", "", ""},
		"unreadable arguments":       {"args", "{'nms': ", "metadata args"},
		"no stride":                  {"stride", "", ""},
		"a stride of 0":              {"stride", "0", `stride is "0"`},
		"a stride that is no number": {"stride", "[8, 16]", `stride is "[8, 16]"`},
		"no names":                   {"names", "", ""},
		"unreadable names":           {"names", "{0: person}", "metadata names"},
		"a list of too few names":    {"names", "['person', 'car']", "2 names"},
		"fewer names than classes":   {"names", "{0: 'person', 1: 'car'}", "2 names"},
		"names of more than it has":  {"names", "{0: 'a', 1: 'b', 2: 'c', 3: 'd', 4: 'e', 5: 'f'}", "6 names"},
	} {
		t.Run(name, func(t *testing.T) {
			session := openSession(t, engine.File{Name: "nocost_detect.onnx", Data: models.NoCostDetect})
			if test.key != "" {
				session.Metadata[test.key] = test.value
			}
			if test.value == "" {
				delete(session.Metadata, test.key)
			}
			err := openAs(session, flow.GroupDetect)
			if test.says == "" && err != nil || test.says != "" && (!errors.Is(err, detect.ErrUnsupported) || !strings.Contains(err.Error(), test.says)) {
				t.Errorf("%v, want %q", err, test.says)
			}
		})
	}
}

func TestShapesDecide(t *testing.T) {
	t.Parallel()
	shape := func(sides ...int64) []int64 { return sides }
	for name, test := range map[string]struct {
		group   string
		in, out []int64
		says    string // nothing: it is taken
	}{
		"detect, free size":                    {flow.GroupDetect, shape(-1, 3, -1, -1), shape(-1, 84, -1), ""},
		"detect, everything free":              {flow.GroupDetect, shape(-1, 3, -1, -1), shape(-1, -1, -1), ""},
		"detect, one side free":                {flow.GroupDetect, shape(1, 3, 640, -1), shape(1, 84, -1), "[1 3 640 -1]"},
		"detect, one channel":                  {flow.GroupDetect, shape(1, 1, 640, 640), shape(1, 84, 8400), "[1 1 640 640]"},
		"detect, channels last":                {flow.GroupDetect, shape(1, 640, 640, 3), shape(1, 84, 8400), "[1 640 640 3]"},
		"detect, boxes by rows":                {flow.GroupDetect, shape(1, 3, 640, 640), shape(1, 8400, 84), "with 80 names makes no raw head"},
		"detect, objectness beside 80 classes": {flow.GroupDetect, shape(1, 3, 640, 640), shape(1, 85, 8400), "with 80 names makes no raw head"},
		"detect, no classes":                   {flow.GroupDetect, shape(1, 3, 640, 640), shape(1, 4, 8400), "makes no raw head"},
		"detect, four dimensions":              {flow.GroupDetect, shape(1, 3, 640, 640), shape(1, 84, 80, 80), "[1 84 80 80]"},
		"depth, fixed":                         {flow.GroupDepth, shape(1, 3, 252, 448), shape(1, 252, 448), ""},
		"depth, one side free":                 {flow.GroupDepth, shape(1, 3, 252, -1), shape(1, 252, -1), "[1 3 252 -1]"},
		"depth, a batch":                       {flow.GroupDepth, shape(4, 3, 252, 252), shape(4, 252, 252), "[4 3 252 252]"},
		"depth, a channel in the output":       {flow.GroupDepth, shape(1, 3, 252, 252), shape(1, 1, 252, 252), "[1 1 252 252]"},
		"depth, no multiple of the patch":      {flow.GroupDepth, shape(1, 3, 256, 252), shape(1, 256, 252), "multiples of 14"},
	} {
		t.Run(name, func(t *testing.T) {
			file := engine.File{Name: "nocost.onnx", Data: models.NoCostDetect}
			if test.group == flow.GroupDepth {
				file.Data = models.NoCostDepth
			}
			session := openSession(t, file)
			session.Inputs[0].Shape, session.Outputs[0].Shape = test.in, test.out
			err := openAs(session, test.group)
			if test.says == "" && err != nil || test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)) {
				t.Errorf("%v, want %q", err, test.says)
			}
		})
	}
}

// A size between two multiples of the stride is rounded up: as it is, no frame would pass the network.
func TestDetectSizeIsRoundedUpToTheStride(t *testing.T) {
	t.Parallel()
	folder := reference.Path(t)
	session := openSession(t, engine.File{Path: filepath.Join(folder, "vectors", "yolov8_dynamic", "model.onnx")})
	image := decoded(t, filepath.Join(folder, "data", "images", "000000005001.jpg"))
	var answers [2]flow.Result
	for i, size := range []int{300, 320} {
		model, err := detect.Open(session.Graph, detect.Settings{Confidence: 0.25, IoU: 0.7, Most: 300, Size: size})
		if err != nil {
			t.Fatal(err)
		}
		if err := answer(session, model, image, &answers[i]); err != nil {
			t.Fatalf("size %d: %v", size, err)
		}
	}
	if len(answers[1].Detections) == 0 || !reflect.DeepEqual(answers[0], answers[1]) {
		t.Errorf("size 300 finds %d boxes, 320 finds %d; want the same", len(answers[0].Detections), len(answers[1].Detections))
	}
}
