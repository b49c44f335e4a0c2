package detect

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/spatial-flow/spatial-flow/workers/engine"
	"github.com/spatial-flow/spatial-flow/workers/model"
	"github.com/spatial-flow/spatial-flow/workers/picture"
)

// rawHead is YOLOv8's and that of those after it: [1, 4+classes, anchors], to be suppressed here.
var rawHead = family{
	name:      "yolo-raw",
	supports:  "the raw head of YOLOv8 and its family, float32 `images` [1,3,H,W] to `output0` [1,4+classes,anchors]",
	recognise: recogniseRawHead,
	decode:    decodeRawHead,
}

func recogniseRawHead(graph engine.Graph, settings Settings) (in model.Input, labels []string, err error) {
	metadata := graph.Metadata
	if task, ok := metadata["task"]; ok && task != "detect" {
		return in, nil, fmt.Errorf("its task is %q", task)
	}
	if metadata["end2end"] == "True" {
		return in, nil, errors.New("its head is end-to-end (no suppression needed)")
	}
	args, err := ParseLiteral(orNone(metadata["args"]))
	if err != nil {
		return in, nil, fmt.Errorf("metadata args: %w", err)
	}
	if dict, ok := args.(map[any]any); ok && dict["nms"] == true {
		return in, nil, errors.New("suppression is inside (exported with nms=True)")
	}
	if in, err = imageInput(graph); err != nil {
		return in, nil, err
	}
	if in.Multiple = 32; metadata["stride"] != "" {
		if in.Multiple, err = strconv.Atoi(metadata["stride"]); err != nil || in.Multiple < 1 || in.Multiple > 1024 {
			return in, nil, fmt.Errorf("its stride is %q", metadata["stride"])
		}
	}
	in.Size = (settings.Size + in.Multiple - 1) / in.Multiple * in.Multiple // as Ultralytics' check_imgsz
	labels, err = rawLabels(graph, in)
	return in, labels, err
}

func orNone(text string) string {
	if text == "" {
		return "None"
	}
	return text
}

// imageInput is the one input of a detector that takes letterboxed pictures, 0 to 1.
func imageInput(graph engine.Graph) (model.Input, error) {
	in := graph.Inputs[0]
	switch {
	case len(graph.Inputs) != 1:
		return model.Input{}, fmt.Errorf("it has %d inputs", len(graph.Inputs))
	case !in.Float:
		return model.Input{}, fmt.Errorf("input %s is no float32 (a half-precision export?)", in.Name)
	case len(in.Shape) != 4 || in.Shape[1] != 3 || in.Shape[0] > 1 || (in.Shape[2] > 0) != (in.Shape[3] > 0):
		return model.Input{}, fmt.Errorf("input %s is %v", in.Name, in.Shape)
	}
	return model.Input{
		Name: in.Name, Height: int(max(0, in.Shape[2])), Width: int(max(0, in.Shape[3])), Resize: model.Letterbox, Scale: model.Unit,
	}, nil
}

// rawLabels are the class names, by ID, of as many classes as the output has.
func rawLabels(graph engine.Graph, in model.Input) ([]string, error) {
	out := graph.Outputs[0]
	if !out.Float || len(graph.Outputs) != 1 || len(out.Shape) != 3 {
		return nil, fmt.Errorf("%d outputs, the first, %s, is %v", len(graph.Outputs), out.Name, out.Shape)
	}
	classes := int(out.Shape[1]) - 4
	parsed, err := ParseLiteral(orNone(graph.Metadata["names"]))
	if err != nil {
		return nil, fmt.Errorf("metadata names: %w", err)
	}
	names := named(parsed)
	if out.Shape[1] < 0 {
		classes = len(names)
	}
	if classes < 1 || len(names) > 0 && len(names) != classes {
		return nil, fmt.Errorf("output %s is %v, which with %d names makes no raw head", out.Name, out.Shape, len(names))
	}
	if len(names) == 0 && in.Width > 0 && out.Shape[2] > 0 && !isAnchors(int(out.Shape[2]), in.Width, in.Height, in.Multiple) {
		return nil, fmt.Errorf("it names no classes, and output %s is %v: no raw head of strides up to %d has %d anchors", out.Name, out.Shape, in.Multiple, out.Shape[2])
	}
	labels := make([]string, classes)
	for i := range labels {
		label, ok := names[i].(string)
		if !ok {
			label = "class " + strconv.Itoa(i)
		}
		labels[i] = label
	}
	return labels, nil
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

func decodeRawHead(s *scratch, d *model.Description, output []float32, shape []int64, fit picture.Fit) ([]Candidate, error) {
	classes := len(d.Labels)
	if len(shape) != 3 || shape[0] != 1 || int(shape[1]) != 4+classes || int64(len(output)) != shape[1]*shape[2] {
		return nil, fmt.Errorf("it is %v, want [1,%d,anchors]", shape, 4+classes)
	}
	if !isAnchors(int(shape[2]), fit.BoxWidth, fit.BoxHeight, d.Input.Multiple) {
		return nil, fmt.Errorf("it is %v: no raw head of strides up to %d has %d anchors for an input of %dx%d", shape, d.Input.Multiple, shape[2], fit.BoxWidth, fit.BoxHeight)
	}
	s.candidates = DecodeHead(s.candidates[:0], &s.best, output, classes, int(shape[2]), d.Confidence)
	if err := s.check(); err != nil {
		return nil, err
	}
	return Suppress(s.candidates, d.IoU, d.Most), nil
}

// isAnchors says whether a head of neighbouring strides, none of which is above largest, has so many anchors: 8, 16 and 32 with
// the usual heads, from 4 or up to 64 with others.
func isAnchors(anchors, width, height, largest int) bool {
	for ; largest >= leastStride; largest /= 2 {
		sum := 0
		for stride := largest; stride >= leastStride; stride /= 2 {
			if sum += ((width + stride - 1) / stride) * ((height + stride - 1) / stride); sum == anchors {
				return true
			}
		}
	}
	return false
}

const leastStride = 4

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
