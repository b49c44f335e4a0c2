package model_test

import (
	"errors"
	"reflect"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/workers/depth"
	"github.com/spatial-flow/spatial-flow/workers/detect"
	"github.com/spatial-flow/spatial-flow/workers/engine"
	"github.com/spatial-flow/spatial-flow/workers/model"
	"github.com/spatial-flow/spatial-flow/workers/models"
)

// What is understood of a file, whole and in one line.
func TestDescription(t *testing.T) {
	t.Parallel()
	read := func(data []byte) engine.Graph {
		t.Helper()
		graph, err := engine.Read(engine.File{Name: "some.onnx", Data: data})
		if err != nil {
			t.Fatal(err)
		}
		return graph
	}
	detector, err := detect.Open(read(models.NoCostDetect), detect.Settings{Confidence: 0.25, IoU: 0.7, Most: 300, Size: 600})
	if err != nil {
		t.Fatal(err)
	}
	got := detector.Description()
	if len(got.Labels) != 80 || got.Labels[79] != "toothbrush" {
		t.Errorf("labels %v", got.Labels)
	}
	got.Labels = nil
	if want := (model.Description{
		File: "some.onnx", Task: flow.TaskDetect, Family: "yolo-raw", Output: "output0", Confidence: 0.25, IoU: 0.7, Most: 300,
		Input: model.Input{Name: "images", Width: 640, Height: 640, Size: 608, Multiple: 32, Resize: model.Letterbox, Scale: model.Unit},
	}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want\n%+v", got, want)
	}
	if got, want := detector.Description().String(), "yolo-raw, 80 classes, 640x640 letterbox, RGB/255"; got != want {
		t.Errorf("%q, want %q", got, want)
	}

	estimator, err := depth.Open(read(models.NoCostDepth), depth.Settings{Size: 252, Bits: 10})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := estimator.Description(), (model.Description{
		File: "some.onnx", Task: flow.TaskDepth, Family: "depth-anything", Output: "predicted_depth", Kind: depthmap.InverseRelative, Bits: 10,
		Input: model.Input{Name: "pixel_values", Size: 252, Multiple: 14, Resize: model.LowerBound, Scale: model.ImageNet},
	}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want\n%+v", got, want)
	}
	if got, want := estimator.Description().String(), "depth-anything, inverse_relative, free size (252) lower-bound, RGB/255 with ImageNet's mean and deviation"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestFirstShapes(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		shape func(width, height int) (int, int, error)
		want  [][2]int
	}{
		"a free size": {func(w, h int) (int, int, error) { return h / 10, w / 10, nil }, [][2]int{{108, 192}, {48, 64}}},
		"a fixed one": {func(int, int) (int, int, error) { return 252, 448, nil }, [][2]int{{252, 448}}},
		"one that is too large wide": {func(w, h int) (int, int, error) {
			if w > 1000 {
				return 0, 0, errors.New("too large")
			}
			return h, w, nil
		}, [][2]int{{480, 640}}},
	} {
		if got := model.FirstShapes(test.shape); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}
