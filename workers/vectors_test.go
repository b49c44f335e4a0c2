package workers_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/flow/reference"
	"github.com/spatial-flow/spatial-flow/workers/depth"
	"github.com/spatial-flow/spatial-flow/workers/detect"
	"github.com/spatial-flow/spatial-flow/workers/engine"
	"github.com/spatial-flow/spatial-flow/workers/picture"
)

func read(t *testing.T, into any, path ...string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

func openSession(t testing.TB, file engine.File) *engine.Session {
	t.Helper()
	session, err := engine.Open(file, engine.Options{Provider: "cpu", Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.Close() })
	return session
}

func decoded(t *testing.T, path string) *picture.Picture {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	picture := picture.NewPicture()
	t.Cleanup(func() { picture.Close() })
	if err := picture.Decode(data); err != nil {
		t.Fatal(err)
	}
	return picture
}

// answerer is detect's model or depth's.
type answerer interface {
	Shape(width, height int) (inputHeight, inputWidth int, err error)
	Prepare(p *picture.Picture, row []float32, inputHeight, inputWidth int) (picture.Fit, error)
	Answer(output []float32, shape []int64, fit picture.Fit, result *flow.Result) error
}

// answer runs a model on a picture.
func answer(session *engine.Session, m answerer, p *picture.Picture, result *flow.Result) error {
	height, width, err := m.Shape(p.Size())
	if err != nil {
		return err
	}
	tensors, err := session.Tensors([4]int{1, 3, height, width})
	if err != nil {
		return err
	}
	defer tensors.Release()
	fit, err := m.Prepare(p, tensors.Input(), height, width)
	if err != nil {
		return err
	}
	output, shape, err := session.Run(context.Background(), tensors)
	if err != nil {
		return err
	}
	return m.Answer(output, shape, fit, result)
}

type expectedBox struct {
	Box   [4]float32 `json:"xyxy"`
	Score float32    `json:"score"`
	Class int        `json:"class"`
	Name  string     `json:"name"`
	Empty bool       `json:"empty"`
}

// Boxes agree with what the reference answers on the same file and pictures.
func TestDetectionAgreesWithReference(t *testing.T) {
	t.Parallel()
	folder := reference.Path(t)
	for _, test := range []struct {
		name string
		size int
		all  int // boxes in all, where the number is known beforehand
	}{
		{"yolov8n_int8", 640, 94}, {"yolov8_static320", 320, 0}, {"yolov8_dynamic", 320, 0}, {"yolov8_names", 256, 0},
		{"yolov5u_static320", 320, 0}, {"yolov9_static320", 320, 0}, {"yolo11_static320", 320, 0}, {"yolo26_raw", 320, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(folder, "vectors", test.name, "model.onnx")
			if test.name == "yolov8n_int8" {
				path = filepath.Join(folder, "models", "yolov8n_int8.onnx")
			}
			session := openSession(t, engine.File{Path: path})
			model, err := detect.Open(session.Graph, detect.Settings{Confidence: 0.25, IoU: 0.7, Most: 300, Size: test.size})
			if err != nil {
				t.Fatal(err)
			}
			var expected struct {
				Images map[string]struct {
					Safe       bool          `json:"safe"`
					Detections []expectedBox `json:"detections"`
				} `json:"images"`
			}
			read(t, &expected, folder, "vectors", test.name, "expected.json")
			matched, total := 0, 0
			for image, want := range expected.Images {
				boxes := slices.DeleteFunc(want.Detections, func(b expectedBox) bool { return b.Empty })
				var result flow.Result
				if err := answer(session, model, decoded(t, filepath.Join(folder, "data", "images", image)), &result); err != nil {
					t.Fatal(err)
				}
				found := match(boxes, result.Detections)
				matched, total = matched+found, total+len(boxes)
				if want.Safe && len(result.Detections) != len(boxes) {
					t.Errorf("%s: %d boxes, want %d", image, len(result.Detections), len(boxes))
				}
				if want.Safe && found != len(boxes) {
					t.Errorf("%s: %d of %d boxes found", image, found, len(boxes))
				}
			}
			if matched != total || test.all != 0 && total != test.all {
				t.Errorf("%d of %d boxes found", matched, total)
			}
		})
	}
}

// match counts the expected boxes that have a detection of their own: same class and name, IoU of at least 0.99,
// score within 0.01; best IoU first.
func match(expected []expectedBox, found []flow.Detection) int {
	type pair struct {
		e, f int
		iou  float32
	}
	var pairs []pair
	for e, want := range expected {
		for f, got := range found {
			iou := overlap(want.Box, got.Box)
			if want.Class == got.ClassID && want.Name == got.Label && iou >= 0.99 && math.Abs(float64(want.Score-got.Score)) <= 0.01 {
				pairs = append(pairs, pair{e, f, iou})
			}
		}
	}
	slices.SortFunc(pairs, func(a, b pair) int { return int(1e6 * (b.iou - a.iou)) })
	usedE, usedF := map[int]bool{}, map[int]bool{}
	for _, p := range pairs {
		if !usedE[p.e] && !usedF[p.f] {
			usedE[p.e], usedF[p.f] = true, true
		}
	}
	return len(usedE)
}

func overlap(a, b [4]float32) float32 {
	inner := max(0, min(a[2], b[2])-max(a[0], b[0])) * max(0, min(a[3], b[3])-max(a[1], b[1]))
	return inner / ((a[2]-a[0])*(a[3]-a[1]) + (b[2]-b[0])*(b[3]-b[1]) - inner)
}

// Depth maps, after the wire, agree with what the authors' own code answers on the same file and pictures.
func TestDepthAgreesWithReferenceAfterTheWire(t *testing.T) {
	t.Parallel()
	folder := reference.Path(t)
	for _, test := range []struct {
		name, set string
		size      int
	}{{"da_v2_dynamic", "official252", 252}, {"da_v2_dynamic", "official518", 518}, {"da_v2_static252", "stretch252", 518}} {
		t.Run(test.name+"/"+test.set, func(t *testing.T) {
			session := openSession(t, engine.File{Path: filepath.Join(folder, "vectors", test.name, "model.onnx")})
			model, err := depth.Open(session.Graph, depth.Settings{Size: test.size, Bits: depthmap.DefaultBits})
			if err != nil {
				t.Fatal(err)
			}
			var expected struct {
				Images map[string]struct {
					File  string `json:"file"`
					Shape [2]int `json:"shape"`
				} `json:"images"`
			}
			read(t, &expected, folder, "vectors", test.name, test.set+".json")
			for image, want := range expected.Images {
				var result flow.Result
				if err := answer(session, model, decoded(t, filepath.Join(folder, "data", "images", image)), &result); err != nil {
					t.Fatal(err)
				}
				if got := [2]int{result.Depth.Height, result.Depth.Width}; got != want.Shape {
					t.Fatalf("%s: map of %v, want %v", image, got, want.Shape)
				}
				mean, p99 := difference(t, result.Depth, filepath.Join(folder, "vectors", want.File))
				if mean > 0.002 || p99 > 0.01 {
					t.Errorf("%s: off by %.4f in the mean, %.4f at the 99th percentile of the range", image, mean, p99)
				}
			}
		})
	}
}

// difference of a map and a file of float32, as shares of the file's range.
func difference(t *testing.T, d *depthmap.Map, file string) (mean, p99 float64) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var unpacker depthmap.Unpacker
	samples, err := unpacker.Unpack(d)
	if err != nil {
		t.Fatal(err)
	}
	low, high := math.Inf(1), math.Inf(-1)
	off := make([]float64, len(samples))
	for i, s := range samples {
		want := float64(math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:])))
		low, high = min(low, want), max(high, want)
		off[i] = math.Abs(float64(d.Value(s)) - want)
		mean += off[i] / float64(len(samples))
	}
	slices.Sort(off)
	return mean / (high - low), off[len(off)*99/100] / (high - low)
}

func TestDepthAnythingV1Loads(t *testing.T) {
	t.Parallel()
	folder := reference.Path(t)
	session := openSession(t, engine.File{Path: filepath.Join(folder, "vectors", "da_v1_dynamic", "model.onnx")})
	model, err := depth.Open(session.Graph, depth.Settings{Size: 252, Bits: depthmap.DefaultBits})
	if err != nil {
		t.Fatal(err)
	}
	var result flow.Result
	if err := answer(session, model, decoded(t, filepath.Join(folder, "data", "images", "000000005001.jpg")), &result); err != nil {
		t.Fatal(err)
	}
	if result.Depth.Scale <= 0 || result.Depth.Validate() != nil {
		t.Errorf("map %+v", result.Depth)
	}
}
