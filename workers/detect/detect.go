// Package detect finds objects: it makes the inputs of detectors and reads their outputs. What is special of a family of them is
// in one file and one row of families.
package detect

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/workers/engine"
	"github.com/spatial-flow/spatial-flow/workers/model"
	"github.com/spatial-flow/spatial-flow/workers/picture"
)

// ErrUnsupported is returned when a model is no detector of a family that is known.
var ErrUnsupported = errors.New("unsupported detection model")

// Settings are the thresholds of detection, with Ultralytics' defaults (cfg/default.yaml).
type Settings struct {
	Confidence float32 // a box must score more than this: 0.25
	IoU        float32 // of two boxes of a class that overlap more, one goes: 0.7
	Most       int     // boxes of a frame: 300
	Size       int     // longer side in pixels of the input of models of free size: 640
}

// family is how detectors of one kind are recognised and read.
type family struct {
	name     string // in alive messages
	supports string // what is taken, in words
	// recognise tells how pictures become inputs and how classes are called, or why it is none of the family.
	recognise func(graph engine.Graph, settings Settings) (model.Input, []string, error)
	// decode reads an output: boxes in pixels of the input, the best first. An error says what of it is wrong.
	decode func(s *scratch, d *model.Description, output []float32, shape []int64, fit picture.Fit) ([]Candidate, error)
}

var families = []family{rawHead}

// scratch is the memory that reading an output takes.
type scratch struct {
	best       Best
	candidates []Candidate
}

// Model is a detector: what makes its inputs and reads its outputs. It may be used by many goroutines.
type Model struct {
	description model.Description
	family      family
	scratch     sync.Pool
}

// Open takes a model by what its file says. [ErrUnsupported] is returned, naming the file, what was found and what is
// supported.
func Open(graph engine.Graph, settings Settings) (*Model, error) {
	var reasons, supported []string
	for _, f := range families {
		input, labels, err := f.recognise(graph, settings)
		if err == nil {
			return &Model{
				description: model.Description{
					File: graph.Name, Task: flow.TaskDetect, Family: f.name, Input: input, Output: graph.Outputs[0].Name, Labels: labels,
					Confidence: settings.Confidence, IoU: settings.IoU, Most: settings.Most,
				},
				family:  f,
				scratch: sync.Pool{New: func() any { return new(scratch) }},
			}, nil
		}
		reasons, supported = append(reasons, err.Error()), append(supported, f.supports)
	}
	return nil, fmt.Errorf("%w %s: %s (supported: %s)", ErrUnsupported, graph.Name, strings.Join(reasons, "; "), strings.Join(supported, "; "))
}

// Description is what was understood of the file.
func (m *Model) Description() model.Description { return m.description }

// Shape is the height and width of the input for a picture of width × height.
func (m *Model) Shape(width, height int) (inputHeight, inputWidth int, err error) {
	in := m.description.Input
	if in.Width > 0 {
		return in.Height, in.Width, nil
	}
	inputWidth, inputHeight = picture.RectBox(width, height, in.Size, in.Multiple)
	return inputHeight, inputWidth, nil
}

// FirstShapes are the inputs' heights and widths that are to be run before the first frame: of a free size those of pictures
// of 16:9 and 4:3.
func (m *Model) FirstShapes() [][2]int { return model.FirstShapes(m.Shape) }

// Prepare writes a picture into an input row [3, inputHeight, inputWidth] and tells where it lies there.
func (m *Model) Prepare(p *picture.Picture, row []float32, inputHeight, inputWidth int) (picture.Fit, error) {
	return p.Letterbox(row, inputWidth, inputHeight)
}

// Answer reads an output and appends what it holds to the result's Detections, boxes in pixels of the picture.
// [model.ErrOutput] is returned when the output has not the shape that its family has for that input, a score that is not 0 to 1,
// or a box that is not finite.
func (m *Model) Answer(output []float32, shape []int64, fit picture.Fit, result *flow.Result) error {
	s := m.scratch.Get().(*scratch)
	defer m.scratch.Put(s)
	found, err := m.family.decode(s, &m.description, output, shape, fit)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", model.ErrOutput, m.description.File, err)
	}
	for _, c := range found {
		box := fit.Back(c.Box)
		if !(box[2] > box[0] && box[3] > box[1]) { // wholly in the bars
			continue
		}
		result.Detections = append(result.Detections, flow.Detection{Label: m.description.Labels[c.Class], ClassID: c.Class, Score: min(c.Score, 1), Box: box})
	}
	return nil
}
