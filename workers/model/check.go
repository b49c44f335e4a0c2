package model

import (
	"context"
	"fmt"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/workers/engine"
	"github.com/spatial-flow/spatial-flow/workers/picture"
)

// Engine runs a model. It serves many goroutines.
type Engine interface {
	// Tensors takes a set of tensors whose input has that shape: batch, channels, height, width. [engine.ErrRun] is returned when
	// there is no memory for it.
	Tensors(shape [4]int) (Tensors, error)
	// Run returns the output and its shape, valid until the tensors are released. [engine.ErrTerminated] is returned when ctx
	// ended, once the run has; [engine.ErrRun] when it failed.
	Run(ctx context.Context, t Tensors) (output []float32, shape []int64, err error)
}

// Tensors are an input and its output, for one goroutine at a time.
type Tensors interface {
	Input() []float32
	Release()
}

// On is ONNX Runtime as an engine.
func On(s *engine.Session) Engine { return session{s} }

type session struct{ *engine.Session }

func (s session) Tensors(shape [4]int) (Tensors, error) {
	t, err := s.Session.Tensors(shape)
	if err != nil {
		return nil, err
	}
	return t, nil
}

func (s session) Run(ctx context.Context, t Tensors) ([]float32, []int64, error) {
	return s.Session.Run(ctx, t.(*engine.Tensors))
}

// Model makes inputs of pictures and reads outputs; detect's and depth's models do.
type Model interface {
	Prepare(p *picture.Picture, row []float32, inputHeight, inputWidth int) (picture.Fit, error)
	Answer(output []float32, shape []int64, fit picture.Fit, result *flow.Result) error
	FirstShapes() [][2]int
	Description() Description
}

// Check runs a model on a dummy picture at each of its first shapes, and looks whether it answers what its description
// promises: only then it can take frames. The error names the file, and wraps [ErrOutput], [engine.ErrRun] or
// [engine.ErrTerminated].
func Check(ctx context.Context, e Engine, m Model) error {
	for _, shape := range m.FirstShapes() {
		if err := Try(ctx, e, m, shape); err != nil {
			return err
		}
	}
	return nil
}

// Try runs a model once on a dummy picture, whose input has that height and width. Errors are those of [Check].
func Try(ctx context.Context, e Engine, m Model, shape [2]int) error {
	height, width := shape[0], shape[1]
	if err := try(ctx, e, m, height, width); err != nil {
		d := m.Description()
		return fmt.Errorf("%s was taken for %v, but fails with an input of %dx%d: %w (is it such a model? It may have been exported in another way, or for another task)",
			d.File, d, width, height, err)
	}
	return nil
}

func try(ctx context.Context, e Engine, m Model, height, width int) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: panic: %v", ErrOutput, r)
		}
	}()
	p, err := picture.Dummy(width, height)
	if err != nil {
		return err
	}
	defer p.Close()
	tensors, err := e.Tensors([4]int{1, 3, height, width})
	if err != nil {
		return err
	}
	defer tensors.Release()
	fit, err := m.Prepare(p, tensors.Input(), height, width)
	if err != nil {
		return err
	}
	output, got, err := e.Run(ctx, tensors)
	if err != nil {
		return err
	}
	const name = "dummy"
	result := &flow.Result{
		Version: flow.Wire, Group: name, Source: name, Session: name, Seq: 1, Mode: flow.ModeLossless, Width: width, Height: height, Plan: []string{name},
	}
	if err := m.Answer(output, got, fit, result); err != nil {
		return err
	}
	if err := result.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrOutput, err)
	}
	return nil
}
