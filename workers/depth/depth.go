// Package depth tells how near things are: it feeds pictures to a Depth Anything model and packs its map.
package depth

import (
	"errors"
	"fmt"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/workers/engine"
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

// Model is a loaded Depth Anything. It may be used by many goroutines, each with a [Slot] of its own.
type Model struct {
	session       *engine.Session
	settings      Settings
	width, height int // of the input; 0: free
}

// Open takes a loaded model. [ErrUnsupported] is returned, naming the file, what was found and what is supported.
func Open(session *engine.Session, settings Settings) (*Model, error) {
	m := &Model{session: session, settings: settings}
	if err := m.read(); err != nil {
		return nil, fmt.Errorf("%w %s: %w (supported: Depth Anything V1 and V2, float32 `pixel_values` [1,3,H,W] to `predicted_depth` [1,H,W])", ErrUnsupported, session.Name, err)
	}
	return m, nil
}

func (m *Model) read() error {
	if len(m.session.Inputs) != 1 || len(m.session.Outputs) != 1 {
		return fmt.Errorf("it has %d inputs and %d outputs", len(m.session.Inputs), len(m.session.Outputs))
	}
	in, out := m.session.Inputs[0], m.session.Outputs[0]
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

// inputSize is the size at which the model looks at a picture of width × height. An error is returned when the picture's
// shape would make that too large.
func (m *Model) inputSize(width, height int) (int, int, error) {
	if m.width > 0 {
		return m.width, m.height, nil
	}
	if longer, shorter := max(width, height), min(width, height); longer > maxShape*shorter {
		return 0, 0, fmt.Errorf("a picture of %dx%d: depth is for those at most %d times longer than wide", width, height, maxShape)
	}
	w, h := picture.LowerBound(width, height, m.settings.Size, patch)
	if max(w, h) > depthmap.MaxSide || w*h > depthmap.MaxSamples {
		return 0, 0, fmt.Errorf("a picture of %dx%d would need a depth map of %dx%d: choose a smaller --depth-size", width, height, w, h)
	}
	return w, h, nil
}

// Slot estimates one frame after the other. It serves one goroutine.
type Slot struct {
	model  *Model
	runner *engine.Runner
	packer depthmap.Packer
}

// NewSlot makes a slot; Close frees it.
func (m *Model) NewSlot() *Slot { return &Slot{model: m, runner: m.session.NewRunner()} }

// Close frees the slot's tensors.
func (s *Slot) Close() error { return s.runner.Close() }

// Answer estimates the depth of a picture and fills in the result's Depth, at the model's own resolution. lap is called
// after each step with its name.
func (s *Slot) Answer(p *picture.Picture, result *flow.Result, lap func(step string)) error {
	m := s.model
	width, height, err := m.inputSize(p.Size())
	if err != nil {
		return err
	}
	input, err := s.runner.Input(1, 3, int64(height), int64(width))
	if err != nil {
		return err
	}
	if err := p.Cubic(input, width, height); err != nil {
		return err
	}
	lap("preprocess")
	output, shape, err := s.runner.Run()
	if err != nil {
		return err
	}
	lap("infer")
	if len(shape) != 3 {
		return fmt.Errorf("decode %s: output is %v, want [1,H,W]", m.session.Name, shape)
	}
	result.Depth, err = s.packer.Pack(output, int(shape[2]), int(shape[1]), depthmap.InverseRelative, m.settings.Bits)
	lap("postprocess")
	return err
}
