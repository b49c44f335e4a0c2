// Package detect finds objects: it feeds pictures to a model of the YOLOv8 family and decodes its raw head.
package detect

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/workers/engine"
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

// Model is a loaded detector. It may be used by many goroutines, each with a [Slot] of its own.
type Model struct {
	session       *engine.Session
	settings      Settings
	labels        []string
	stride        int
	width, height int // of the input; 0: free
}

// Open takes a loaded model. [ErrUnsupported] is returned, naming the file, what was found and what is supported.
func Open(session *engine.Session, settings Settings) (*Model, error) {
	m := &Model{session: session, settings: settings}
	if err := m.read(); err != nil {
		return nil, fmt.Errorf("%w %s: %w (supported: the raw head of YOLOv8 and its family, float32 `images` [1,3,H,W] to `output0` [1,4+classes,anchors])", ErrUnsupported, session.Name, err)
	}
	return m, nil
}

// Labels are the model's class names, by class ID.
func (m *Model) Labels() []string { return m.labels }

func (m *Model) read() error {
	metadata := m.session.Metadata
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
	if len(m.session.Inputs) != 1 {
		return fmt.Errorf("it has %d inputs", len(m.session.Inputs))
	}
	in := m.session.Inputs[0]
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
	out := m.session.Outputs[0]
	if !out.Float || len(m.session.Outputs) != 1 || len(out.Shape) != 3 {
		return fmt.Errorf("%d outputs, the first, %s, is %v", len(m.session.Outputs), out.Name, out.Shape)
	}
	classes := int(out.Shape[1]) - 4
	parsed, err := ParseLiteral(orNone(names))
	if err != nil {
		return fmt.Errorf("metadata names: %w", err)
	}
	dict, _ := parsed.(map[any]any)
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

// anchors of a raw head with the usual strides for an input of fixed size; 0 for one of free size.
func (m *Model) anchors() (sum int64) {
	for _, stride := range []int{8, 16, 32} {
		sum += int64(m.width / stride * (m.height / stride))
	}
	return sum
}

// Slot detects in one frame after the other. It serves one goroutine.
type Slot struct {
	model      *Model
	runner     *engine.Runner
	best       Best
	candidates []Candidate
}

// NewSlot makes a slot; Close frees it.
func (m *Model) NewSlot() *Slot { return &Slot{model: m, runner: m.session.NewRunner()} }

// Close frees the slot's tensors.
func (s *Slot) Close() error { return s.runner.Close() }

// Answer detects in a picture and fills in the result's Detections, boxes in pixels of the picture. lap is called
// after each step with its name.
func (s *Slot) Answer(p *picture.Picture, result *flow.Result, lap func(step string)) error {
	m := s.model
	width, height := m.width, m.height
	if width == 0 {
		w, h := p.Size()
		width, height = picture.RectBox(w, h, m.settings.Size, m.stride)
	}
	input, err := s.runner.Input(1, 3, int64(height), int64(width))
	if err != nil {
		return err
	}
	fit, err := p.Letterbox(input, width, height)
	if err != nil {
		return err
	}
	lap("preprocess")
	output, shape, err := s.runner.Run()
	if err != nil {
		return err
	}
	lap("infer")
	if len(shape) != 3 || int(shape[1]) != 4+len(m.labels) {
		return fmt.Errorf("decode %s: output is %v, want [1,%d,anchors]", m.session.Name, shape, 4+len(m.labels))
	}
	s.candidates = DecodeHead(s.candidates[:0], &s.best, output, len(m.labels), int(shape[2]), m.settings.Confidence)
	for _, c := range Suppress(s.candidates, m.settings.IoU, m.settings.Most) {
		box := fit.Back(c.Box)
		if !(box[2] > box[0] && box[3] > box[1]) { // wholly in the bars, or not a number
			continue
		}
		result.Detections = append(result.Detections, flow.Detection{Label: m.labels[c.Class], ClassID: c.Class, Score: c.Score, Box: box})
	}
	lap("postprocess")
	return nil
}
