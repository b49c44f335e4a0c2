//go:build !race

// The race detector makes these ten times slower and sees in them what it sees in others.

package standalone

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image/jpeg"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/reference"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/standalone/eval"
)

// The real video through the real detector, against Ultralytics' own run of the same file.
func TestPedestriansAgreeWithUltralytics(t *testing.T) {
	t.Parallel()
	folder := reference.Path(t)
	up := newUp(t, filepath.Join(folder, "data", "pedestrians.avi"))
	up.DetectModel, up.Frames = filepath.Join(folder, "models", "yolov8n_int8.onnx"), filmFrames
	up.Scenes = filepath.Join(t.TempDir(), "scenes.jsonl")
	var out strings.Builder
	if err := up.RunPipeline(t.Context(), &out, io.Discard, quiet); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	scenes := lines(t, up.Scenes)
	if len(scenes) != filmFrames {
		t.Fatalf("%d scenes, want %d", len(scenes), filmFrames)
	}
	var reference struct {
		People map[string]int `json:"people_per_frame"`
		Boxes  map[string][]struct {
			Box  [4]float32 `json:"xyxy"`
			Name string     `json:"name"`
		} `json:"boxes_every_50th"`
	}
	readJSON(t, filepath.Join(folder, "vectors", "pedestrians_yolov8n_int8.json"), &reference)
	off, found, total := 0.0, 0, 0
	for _, scene := range scenes {
		key := fmt.Sprint(scene.Frame.Seq)
		people := 0
		for _, d := range scene.Detections {
			if d.Label == "person" {
				people++
			}
		}
		off += math.Abs(float64(people-reference.People[key])) / float64(len(scenes))
		for _, want := range reference.Boxes[key] {
			if want.Name != "person" {
				continue
			}
			total++
			for _, d := range scene.Detections {
				if d.Label == "person" && overlap(want.Box, d.Box) >= 0.9 {
					found++
					break
				}
			}
		}
	}
	t.Logf("persons found: %d of %d; count off by %.3f on average", found, total, off)
	if off > 0.35 || total == 0 || float64(found) < 0.95*float64(total) {
		t.Errorf("persons found: %d of %d, want 95 %%; count off by %.3f on average, want at most 0.35", found, total, off)
	}
}

func overlap(a, b [4]float32) float32 {
	inner := max(0, min(a[2], b[2])-max(a[0], b[0])) * max(0, min(a[3], b[3])-max(a[1], b[1]))
	return inner / ((a[2]-a[0])*(a[3]-a[1]) + (b[2]-b[0])*(b[3]-b[1]) - inner)
}

// Every reference picture posted: the boxes of Ultralytics' own run, each, and a depth map of the picture's size.
func TestPredictAgreesWithUltralytics(t *testing.T) {
	t.Parallel()
	folder := reference.Path(t)
	post := predicting(t, func(u *Up) {
		u.DetectModel = filepath.Join(folder, "models", "yolov8n_int8.onnx")
		u.DepthModel, u.DepthSize = filepath.Join(folder, "vectors", "da_v2_dynamic", "model.onnx"), 252
	})
	var reference struct {
		Images map[string]struct {
			Width, Height int
			Detections    []struct {
				Box   [4]float32 `json:"xyxy"`
				Score float32    `json:"score"`
				Class int        `json:"class"`
			} `json:"detections"`
		} `json:"images"`
	}
	readJSON(t, filepath.Join(folder, "vectors", "yolov8n_int8", "expected.json"), &reference)
	found, total := 0, 0
	for name, want := range reference.Images {
		data, err := os.ReadFile(filepath.Join(folder, "data", "images", name))
		if err != nil {
			t.Fatal(err)
		}
		code, got := answered(post, data)
		if code != http.StatusOK || len(got.Detections) != len(want.Detections) {
			t.Errorf("%s: %d %s, %d boxes, want %d", name, code, got.Error, len(got.Detections), len(want.Detections))
		}
		for _, w := range want.Detections {
			total++
			for _, d := range got.Detections {
				if d.ClassID == w.Class && overlap(w.Box, d.Box) > 0.95 && d.Score-w.Score < .01 && w.Score-d.Score < .01 {
					found++
					break
				}
			}
		}
		if size, err := jpeg.DecodeConfig(bytes.NewReader(got.DepthMap)); err != nil || size.Width != want.Width || size.Height != want.Height {
			t.Errorf("%s: depth map of %dx%d, %v, want %dx%d", name, size.Width, size.Height, err, want.Width, want.Height)
		}
	}
	if total != 94 || found != total {
		t.Errorf("%d of %d boxes are found, want 94 of 94", found, total)
	}
}

// answered posts a picture, again while there is no time for it on a machine that has much else to do.
func answered(post func(string, []byte) (int, prediction), data []byte) (code int, p prediction) {
	for begin := time.Now(); ; {
		if code, p = post("", data); code != http.StatusGatewayTimeout || time.Since(begin) > patience {
			return code, p
		}
	}
}

// What cameras and telephones make: 4K, and what does not fit into a message. Boxes and map are of the posted size.
func TestPredictLargePictures(t *testing.T) {
	t.Parallel()
	post := predicting(t, nil)
	for _, size := range []struct{ width, height, quality int }{{3840, 2160, 90}, {4000, 3000, 95}} {
		data := grey(t, size.width, size.height, size.quality)
		if size.quality > 90 && len(data) <= bus.MaxMessage {
			t.Fatalf("%+v takes %d bytes: it must not fit into a message", size, len(data))
		}
		code, p := answered(post, data)
		if code != http.StatusOK || len(p.Detections) == 0 {
			t.Fatalf("%+v, %d bytes: %d %s, %d boxes", size, len(data), code, p.Error, len(p.Detections))
		}
		if got, err := jpeg.DecodeConfig(bytes.NewReader(p.DepthMap)); err != nil || got.Width != size.width || got.Height != size.height {
			t.Errorf("%+v: depth map of %dx%d, %v", size, got.Width, got.Height, err)
		}
		reach := float32(0)
		for _, d := range p.Detections {
			reach = max(reach, d.Box[2]/float32(size.width))
		}
		if reach < .3 || reach > 1 { // the model of no cost always says the same, all over the picture
			t.Errorf("%+v: boxes reach to %.2f of the width", size, reach)
		}
	}
}

// TestDemoModels is the short evaluation: held-out streets through the real pipeline with the models that ship. Its
// bounds lie a little below what the models' cards say of 500 frames.
func TestDemoModels(t *testing.T) {
	t.Parallel()
	var e Eval
	if err := service.Defaults(&e); err != nil {
		t.Fatal(err)
	}
	e.Frames, e.JSON = 60, true
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
