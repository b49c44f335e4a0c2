// Package depth tells how near things are: it feeds pictures to a Depth Anything model and packs its map.
package depth

import (
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/workers/engine"
	"github.com/spatial-flow/spatial-flow/workers/model"
	"github.com/spatial-flow/spatial-flow/workers/picture"
)

// ErrUnsupported is returned when a model is no Depth Anything.
var ErrUnsupported = errors.New("unsupported depth model")

// Family names the decoder in alive messages.
const Family = "depth-anything"

// patch is the side in pixels of what the network's encoder looks at: inputs are multiples of it
// (Depth-Anything-V2, depth_anything_v2/dpt.py: ensure_multiple_of=14).
const patch = 14

// Settings of depth estimation.
type Settings struct {
	Size int // shorter side in pixels of the input of models of free size: 518
	Bits int // of the map's samples: 8 to 16
}

// Model is a Depth Anything: what makes its inputs and reads its outputs. It may be used by many goroutines.
type Model struct {
	graph         engine.Graph
	settings      Settings
	width, height int       // of the input; 0: free
	packers       sync.Pool // of *depthmap.Packer
}

// Open takes a model by what its file says. [ErrUnsupported] is returned, naming the file, what was found and what is
// supported.
func Open(graph engine.Graph, settings Settings) (*Model, error) {
	m := &Model{graph: graph, settings: settings, packers: sync.Pool{New: func() any { return new(depthmap.Packer) }}}
	if err := m.read(); err != nil {
		return nil, fmt.Errorf("%w %s: %w (supported: Depth Anything V1 and V2, float32 `pixel_values` [1,3,H,W] to `predicted_depth` [1,H,W])", ErrUnsupported, graph.Name, err)
	}
	return m, nil
}

func (m *Model) read() error {
	if len(m.graph.Inputs) != 1 || len(m.graph.Outputs) != 1 {
		return fmt.Errorf("it has %d inputs and %d outputs", len(m.graph.Inputs), len(m.graph.Outputs))
	}
	in, out := m.graph.Inputs[0], m.graph.Outputs[0]
	switch {
	case in.Name != "pixel_values" || out.Name != "predicted_depth":
		return fmt.Errorf("its input is called %s, its output %s", in.Name, out.Name)
	case !in.Float || !out.Float:
		return errors.New("its input or output is no float32 (a half-precision export?)")
	case len(in.Shape) != 4 || in.Shape[1] != 3 && in.Shape[1] > 0 || in.Shape[0] > 1 || (in.Shape[2] > 0) != (in.Shape[3] > 0) || len(out.Shape) != 3:
		return fmt.Errorf("its input is %v, its output %v", in.Shape, out.Shape)
	case in.Shape[2] > 0 && (in.Shape[2]%patch != 0 || in.Shape[3]%patch != 0):
		return fmt.Errorf("its input is %v, whose sides are no multiples of %d (a DPT or MiDaS model?)", in.Shape, patch)
	}
	if in.Shape[2] > 0 && in.Shape[3] > 0 {
		m.height, m.width = int(in.Shape[2]), int(in.Shape[3])
	}
	return nil
}

// maxShape is how many times longer than wide a picture may be: attention's memory grows with the square of the input's
// patches, at 6:1 and the usual size already to some 0.3 GB per head.
const maxShape = 6

// Shape is the height and width of the input for a picture of width × height. [model.ErrShape] is returned when the picture's
// shape would make that too large.
func (m *Model) Shape(width, height int) (inputHeight, inputWidth int, err error) {
	if m.width > 0 {
		return m.height, m.width, nil
	}
	if longer, shorter := max(width, height), min(width, height); longer > maxShape*shorter {
		return 0, 0, fmt.Errorf("%w: %dx%d: depth is for those at most %d times longer than wide", model.ErrShape, width, height, maxShape)
	}
	w, h := picture.LowerBound(width, height, m.settings.Size, patch)
	if max(w, h) > depthmap.MaxSide || w*h > depthmap.MaxSamples {
		return 0, 0, fmt.Errorf("%w: %dx%d would need a depth map of %dx%d: choose a smaller --depth-size", model.ErrShape, width, height, w, h)
	}
	return h, w, nil
}

// FirstShapes are the inputs' heights and widths that are to be run before the first frame: of a free size those of pictures
// of 16:9 and 4:3.
func (m *Model) FirstShapes() [][2]int {
	if m.width > 0 {
		return [][2]int{{m.height, m.width}}
	}
	wide, wideHigh := picture.LowerBound(1920, 1080, m.settings.Size, patch)
	narrow, narrowHigh := picture.LowerBound(640, 480, m.settings.Size, patch)
	if wide == narrow && wideHigh == narrowHigh {
		return [][2]int{{wideHigh, wide}}
	}
	return [][2]int{{wideHigh, wide}, {narrowHigh, narrow}}
}

// Description is what was understood of the file.
func (m *Model) Description() model.Description {
	d := model.Description{
		File: m.graph.Name, Task: flow.TaskDepth, Family: Family,
		Input: model.Input{
			Name: m.graph.Inputs[0].Name, Width: m.width, Height: m.height, Size: m.settings.Size, Multiple: patch,
			Resize: model.LowerBound, Scale: model.ImageNet,
		},
		Output: m.graph.Outputs[0].Name, Kind: depthmap.InverseRelative, Bits: m.settings.Bits,
	}
	if m.width > 0 {
		d.Input.Resize = model.Stretch
	}
	return d
}

// Prepare writes a picture, stretched, into an input row [3, inputHeight, inputWidth].
func (m *Model) Prepare(p *picture.Picture, row []float32, inputHeight, inputWidth int) (picture.Fit, error) {
	return picture.Fit{BoxWidth: inputWidth, BoxHeight: inputHeight}, p.Cubic(row, inputWidth, inputHeight)
}

// Answer packs an output [1, H, W] into the result's Depth, at the model's own resolution. [model.ErrOutput] is returned when
// the output has another shape, or another aspect than its input, or values that are not finite.
func (m *Model) Answer(output []float32, shape []int64, fit picture.Fit, result *flow.Result) error {
	if err := check(output, shape, fit); err != nil {
		return fmt.Errorf("%w: %s: %w", model.ErrOutput, m.graph.Name, err)
	}
	packer := m.packers.Get().(*depthmap.Packer)
	defer m.packers.Put(packer)
	packed, err := packer.Pack(output, int(shape[2]), int(shape[1]), depthmap.InverseRelative, m.settings.Bits)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", model.ErrOutput, m.graph.Name, err)
	}
	result.Depth = packed
	return nil
}

func check(output []float32, shape []int64, fit picture.Fit) error {
	if len(shape) != 3 || shape[0] != 1 || shape[1] < 1 || shape[2] < 1 || int64(len(output)) != shape[1]*shape[2] {
		return fmt.Errorf("it is %v, want [1,H,W]", shape)
	}
	aspect, want := float64(shape[2])/float64(shape[1]), float64(fit.BoxWidth)/float64(fit.BoxHeight)
	if aspect > 1.1*want || want > 1.1*aspect {
		return fmt.Errorf("it is %v for an input of %dx%d: its size was fixed when it was exported", shape, fit.BoxWidth, fit.BoxHeight)
	}
	for i, v := range output {
		if !(v >= -math.MaxFloat32 && v <= math.MaxFloat32) {
			return fmt.Errorf("value %d of %d is %v", i, len(output), v)
		}
	}
	return nil
}
