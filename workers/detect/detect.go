// Package detect finds objects: it feeds pictures to a model of the YOLOv8 family and decodes its raw head.
package detect

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/workers/engine"
	"github.com/spatial-flow/spatial-flow/workers/model"
	"github.com/spatial-flow/spatial-flow/workers/picture"
)

// ErrUnsupported is returned when a model is no detector with a raw YOLOv8 head.
var ErrUnsupported = errors.New("unsupported detection model")

// Family names the decoder in alive messages.
const Family = "yolo-raw"

// Settings are the thresholds of detection, with Ultralytics' defaults (cfg/default.yaml).
type Settings struct {
	Confidence float32 // a box must score more than this: 0.25
	IoU        float32 // of two boxes of a class that overlap more, one goes: 0.7
	Most       int     // boxes of a frame: 300
	Size       int     // longer side in pixels of the input of models of free size: 640
}

// Model is a detector: what makes its inputs and reads its outputs. It may be used by many goroutines.
type Model struct {
	graph         engine.Graph
	settings      Settings
	labels        []string
	stride        int
	width, height int // of the input; 0: free
	scratch       sync.Pool
}

// scratch is the memory that reading an output takes.
type scratch struct {
	best       Best
	candidates []Candidate
}

// Open takes a model by what its file says. [ErrUnsupported] is returned, naming the file, what was found and what is
// supported.
func Open(graph engine.Graph, settings Settings) (*Model, error) {
	m := &Model{graph: graph, settings: settings, scratch: sync.Pool{New: func() any { return new(scratch) }}}
	if err := m.read(); err != nil {
		return nil, fmt.Errorf("%w %s: %w (supported: the raw head of YOLOv8 and its family, float32 `images` [1,3,H,W] to `output0` [1,4+classes,anchors])", ErrUnsupported, graph.Name, err)
	}
	return m, nil
}

// Description is what was understood of the file.
func (m *Model) Description() model.Description {
	return model.Description{
		File: m.graph.Name, Task: flow.TaskDetect, Family: Family,
		Input: model.Input{
			Name: m.graph.Inputs[0].Name, Width: m.width, Height: m.height, Size: m.settings.Size, Multiple: m.stride,
			Resize: model.Letterbox, Scale: model.Unit,
		},
		Output: m.graph.Outputs[0].Name, Labels: m.labels,
		Confidence: m.settings.Confidence, IoU: m.settings.IoU, Most: m.settings.Most,
	}
}

func (m *Model) read() error {
	metadata := m.graph.Metadata
	if task, ok := metadata["task"]; ok && task != "detect" {
		return fmt.Errorf("its task is %q", task)
	}
	if metadata["end2end"] == "True" {
		return errors.New("its head is end-to-end (no suppression needed)")
	}
	args, err := ParseLiteral(orNone(metadata["args"]))
	if err != nil {
		return fmt.Errorf("metadata args: %w", err)
	}
	if dict, ok := args.(map[any]any); ok && dict["nms"] == true {
		return errors.New("suppression is inside (exported with nms=True)")
	}
	if err := m.readInput(); err != nil {
		return err
	}
	if m.stride = 32; metadata["stride"] != "" {
		if m.stride, err = strconv.Atoi(metadata["stride"]); err != nil || m.stride < 1 || m.stride > 1024 {
			return fmt.Errorf("its stride is %q", metadata["stride"])
		}
	}
	m.settings.Size = (m.settings.Size + m.stride - 1) / m.stride * m.stride // as Ultralytics' check_imgsz
	return m.readHead(metadata["names"])
}

func orNone(text string) string {
	if text == "" {
		return "None"
	}
	return text
}

func (m *Model) readInput() error {
	if len(m.graph.Inputs) != 1 {
		return fmt.Errorf("it has %d inputs", len(m.graph.Inputs))
	}
	in := m.graph.Inputs[0]
	switch {
	case !in.Float:
		return fmt.Errorf("input %s is no float32 (a half-precision export?)", in.Name)
	case len(in.Shape) != 4 || in.Shape[1] != 3 || in.Shape[0] > 1 || (in.Shape[2] > 0) != (in.Shape[3] > 0):
		return fmt.Errorf("input %s is %v", in.Name, in.Shape)
	}
	if in.Shape[2] > 0 && in.Shape[3] > 0 {
		m.height, m.width = int(in.Shape[2]), int(in.Shape[3])
	}
	return nil
}

func (m *Model) readHead(names string) error {
	out := m.graph.Outputs[0]
	if !out.Float || len(m.graph.Outputs) != 1 || len(out.Shape) != 3 {
		return fmt.Errorf("%d outputs, the first, %s, is %v", len(m.graph.Outputs), out.Name, out.Shape)
	}
	classes := int(out.Shape[1]) - 4
	parsed, err := ParseLiteral(orNone(names))
	if err != nil {
		return fmt.Errorf("metadata names: %w", err)
	}
	dict := named(parsed)
	if out.Shape[1] < 0 {
		classes = len(dict)
	}
	if classes < 1 || len(dict) > 0 && len(dict) != classes {
		return fmt.Errorf("output %s is %v, which with %d names makes no raw head", out.Name, out.Shape, len(dict))
	}
	if want := m.anchors(); len(dict) == 0 && want > 0 && out.Shape[2] > 0 && out.Shape[2] != want {
		return fmt.Errorf("it names no classes, and output %s is %v: a raw head would have %d anchors", out.Name, out.Shape, want)
	}
	m.labels = make([]string, classes)
	for i := range m.labels {
		label, ok := dict[i].(string)
		if !ok {
			label = "class " + strconv.Itoa(i)
		}
		m.labels[i] = label
	}
	return nil
}

// named are class names by ID: of a dict, or, as older exports have them, of a list.
func named(parsed any) map[any]any {
	dict, _ := parsed.(map[any]any)
	if list, ok := parsed.([]any); ok {
		dict = make(map[any]any, len(list))
		for i, name := range list {
			dict[i] = name
		}
	}
	return dict
}

// anchors of a raw head with the usual strides for an input of fixed size; 0 for one of free size.
func (m *Model) anchors() (sum int64) {
	for _, stride := range []int{8, 16, 32} {
		sum += int64(m.width / stride * (m.height / stride))
	}
	return sum
}

// Shape is the height and width of the input for a picture of width × height.
func (m *Model) Shape(width, height int) (inputHeight, inputWidth int, err error) {
	if m.width > 0 {
		return m.height, m.width, nil
	}
	inputWidth, inputHeight = picture.RectBox(width, height, m.settings.Size, m.stride)
	return inputHeight, inputWidth, nil
}

// FirstShapes are the inputs' heights and widths that are to be run before the first frame: of a free size those of pictures
// of 16:9 and 4:3.
func (m *Model) FirstShapes() [][2]int {
	if m.width > 0 {
		return [][2]int{{m.height, m.width}}
	}
	wide, wideHigh := picture.RectBox(1920, 1080, m.settings.Size, m.stride)
	narrow, narrowHigh := picture.RectBox(640, 480, m.settings.Size, m.stride)
	if wide == narrow && wideHigh == narrowHigh {
		return [][2]int{{wideHigh, wide}}
	}
	return [][2]int{{wideHigh, wide}, {narrowHigh, narrow}}
}

// Prepare writes a picture into an input row [3, inputHeight, inputWidth] and tells where it lies there.
func (m *Model) Prepare(p *picture.Picture, row []float32, inputHeight, inputWidth int) (picture.Fit, error) {
	return p.Letterbox(row, inputWidth, inputHeight)
}

// Answer reads an output [1, 4+classes, anchors] and appends what it holds to the result's Detections, boxes in pixels of the
// picture. [model.ErrOutput] is returned when the output has not the shape of a raw head of that input, a score that is not 0 to
// 1, or a box that is not finite.
func (m *Model) Answer(output []float32, shape []int64, fit picture.Fit, result *flow.Result) error {
	if err := m.checkShape(output, shape, fit); err != nil {
		return fmt.Errorf("%w: %s: %w", model.ErrOutput, m.graph.Name, err)
	}
	s := m.scratch.Get().(*scratch)
	defer m.scratch.Put(s)
	s.candidates = DecodeHead(s.candidates[:0], &s.best, output, len(m.labels), int(shape[2]), m.settings.Confidence)
	if err := s.check(); err != nil {
		return fmt.Errorf("%w: %s: %w", model.ErrOutput, m.graph.Name, err)
	}
	for _, c := range Suppress(s.candidates, m.settings.IoU, m.settings.Most) {
		box := fit.Back(c.Box)
		if !(box[2] > box[0] && box[3] > box[1]) { // wholly in the bars
			continue
		}
		result.Detections = append(result.Detections, flow.Detection{Label: m.labels[c.Class], ClassID: c.Class, Score: min(c.Score, 1), Box: box})
	}
	return nil
}

func (m *Model) checkShape(output []float32, shape []int64, fit picture.Fit) error {
	if len(shape) != 3 || shape[0] != 1 || int(shape[1]) != 4+len(m.labels) || int64(len(output)) != shape[1]*shape[2] {
		return fmt.Errorf("it is %v, want [1,%d,anchors]", shape, 4+len(m.labels))
	}
	if !isAnchors(int(shape[2]), fit.BoxWidth, fit.BoxHeight, m.stride) {
		return fmt.Errorf("it is %v: no raw head of strides up to %d has %d anchors for an input of %dx%d", shape, m.stride, shape[2], fit.BoxWidth, fit.BoxHeight)
	}
	return nil
}

// isAnchors says whether a head of neighbouring strides, of which largest is the last, has so many anchors: 8, 16 and 32 with
// the usual heads, from 4 or up to 64 with others.
func isAnchors(anchors, width, height, largest int) bool {
	sum := 0
	for stride := largest; stride >= 4; stride /= 2 {
		if sum += ((width + stride - 1) / stride) * ((height + stride - 1) / stride); sum == anchors {
			return true
		}
	}
	return false
}

// slack is how far scores may lie outside of 0 to 1: those of quantised models do by a step.
const slack = 0.01

// check looks at the best score of each anchor, and at the boxes that count.
func (s *scratch) check() error {
	for i, score := range s.best.scores {
		if !(score >= -slack && score <= 1+slack) {
			return fmt.Errorf("anchor %d has the score %v, want 0 to 1", i, score)
		}
	}
	for _, c := range s.candidates {
		for _, v := range c.Box {
			if !(v >= -math.MaxFloat32 && v <= math.MaxFloat32) {
				return fmt.Errorf("a box is %v", c.Box)
			}
		}
	}
	return nil
}
