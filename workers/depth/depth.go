// Package depth tells how near things are: it makes the inputs of depth models and packs their maps. What is special of a family
// of them is in one file and one row of families.
package depth

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/workers/engine"
	"github.com/spatial-flow/spatial-flow/workers/model"
	"github.com/spatial-flow/spatial-flow/workers/picture"
)

// ErrUnsupported is returned when a model is no depth model of a family that is known.
var ErrUnsupported = errors.New("unsupported depth model")

// Settings of depth estimation.
type Settings struct {
	Size int // shorter side in pixels of the input of models of free size: 518
	Bits int // of the map's samples: 8 to 16
}

// family is how depth models of one kind are recognised. Their outputs are [1, H, W].
type family struct {
	name     string // in alive messages
	supports string // what is taken, in words
	// recognise tells how pictures become inputs and what the numbers of the map mean, or why it is none of the family.
	recognise func(graph engine.Graph, settings Settings) (model.Input, depthmap.Kind, error)
}

var families = []family{depthAnything}

// Model is a depth model: what makes its inputs and reads its outputs. It may be used by many goroutines.
type Model struct {
	description model.Description
	packers     sync.Pool // of *depthmap.Packer
}

// Open takes a model by what its file says. [ErrUnsupported] is returned, naming the file, what was found and what is
// supported.
func Open(graph engine.Graph, settings Settings) (*Model, error) {
	var reasons, supported []string
	for _, f := range families {
		input, kind, err := f.recognise(graph, settings)
		if err == nil {
			m := &Model{
				description: model.Description{
					File: graph.Name, Task: flow.TaskDepth, Family: f.name, Input: input, Output: graph.Outputs[0].Name, Kind: kind, Bits: settings.Bits,
				},
				packers: sync.Pool{New: func() any { return new(depthmap.Packer) }},
			}
			if len(m.FirstShapes()) == 0 {
				_, _, err := m.Shape(1, 1)
				return nil, fmt.Errorf("%w %s: not even for a square: %w", ErrUnsupported, graph.Name, err)
			}
			return m, nil
		}
		reasons, supported = append(reasons, err.Error()), append(supported, f.supports)
	}
	return nil, fmt.Errorf("%w %s: %s (supported: %s)", ErrUnsupported, graph.Name, strings.Join(reasons, "; "), strings.Join(supported, "; "))
}

// Description is what was understood of the file.
func (m *Model) Description() model.Description { return m.description }

// maxShape is how many times longer than wide a picture may be: attention's memory grows with the square of the input's
// patches, at 6:1 and the usual size already to some 0.3 GB per head.
const maxShape = 6

// Shape is the height and width of the input for a picture of width × height. [model.ErrShape] is returned when the picture's
// shape would make that too large.
func (m *Model) Shape(width, height int) (inputHeight, inputWidth int, err error) {
	in := m.description.Input
	if in.Width > 0 {
		return in.Height, in.Width, nil
	}
	if longer, shorter := max(width, height), min(width, height); longer > maxShape*shorter {
		return 0, 0, fmt.Errorf("%w: %dx%d: depth is for those at most %d times longer than wide", model.ErrShape, width, height, maxShape)
	}
	w, h := picture.LowerBound(width, height, in.Size, in.Multiple)
	if max(w, h) > depthmap.MaxSide || w*h > depthmap.MaxSamples {
		return 0, 0, fmt.Errorf("%w: %dx%d would need a depth map of %dx%d: choose a smaller --depth-size", model.ErrShape, width, height, w, h)
	}
	return h, w, nil
}

// FirstShapes are the inputs' heights and widths that are to be run before the first frame: of a free size those of pictures
// of 16:9 and 4:3.
func (m *Model) FirstShapes() [][2]int { return model.FirstShapes(m.Shape) }

// Prepare writes a picture, stretched, into an input row [3, inputHeight, inputWidth].
func (m *Model) Prepare(p *picture.Picture, row []float32, inputHeight, inputWidth int) (picture.Fit, error) {
	return picture.Fit{BoxWidth: inputWidth, BoxHeight: inputHeight}, p.Cubic(row, inputWidth, inputHeight)
}

// Answer packs an output [1, H, W] into the result's Depth, at the model's own resolution. [model.ErrOutput] is returned when
// the output has another shape, or another aspect than its input, or values that are not finite.
func (m *Model) Answer(output []float32, shape []int64, fit picture.Fit, result *flow.Result) error {
	if err := check(output, shape, fit); err != nil {
		return fmt.Errorf("%w: %s: %w", model.ErrOutput, m.description.File, err)
	}
	packer := m.packers.Get().(*depthmap.Packer)
	defer m.packers.Put(packer)
	packed, err := packer.Pack(output, int(shape[2]), int(shape[1]), m.description.Kind, m.description.Bits)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", model.ErrOutput, m.description.File, err)
	}
	result.Depth = packed
	return nil
}

// aspectSlack is by how much a map may be wider or higher for its size than the input: patches are whole.
const aspectSlack = 1.1

func check(output []float32, shape []int64, fit picture.Fit) error {
	if len(shape) != 3 || shape[0] != 1 || shape[1] < 1 || shape[2] < 1 || int64(len(output)) != shape[1]*shape[2] {
		return fmt.Errorf("it is %v, want [1,H,W]", shape)
	}
	aspect, want := float64(shape[2])/float64(shape[1]), float64(fit.BoxWidth)/float64(fit.BoxHeight)
	if aspect > aspectSlack*want || want > aspectSlack*aspect {
		return fmt.Errorf("it is %v for an input of %dx%d: its size was fixed when it was exported", shape, fit.BoxWidth, fit.BoxHeight)
	}
	for i, v := range output {
		if !(v >= -math.MaxFloat32 && v <= math.MaxFloat32) {
			return fmt.Errorf("value %d of %d is %v", i, len(output), v)
		}
	}
	return nil
}
