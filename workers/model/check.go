package model

import (
	"context"
	"fmt"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/workers/engine"
	"github.com/spatial-flow/spatial-flow/workers/picture"
)

// Engine runs a model; an [engine.Session] does.
type Engine interface {
	Tensors(shape [4]int) (*engine.Tensors, error)
	Run(ctx context.Context, t *engine.Tensors) (output []float32, shape []int64, err error)
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

func try(ctx context.Context, e Engine, m Model, height, width int) error {
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
	return m.Answer(output, got, fit, new(flow.Result))
}
