package workers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/workers/engine"
	"github.com/spatial-flow/spatial-flow/workers/model"
	"github.com/spatial-flow/spatial-flow/workers/picture"
)

// Apart is a group's model without a pipeline: it answers pictures of this process, and knows no NATS. It serves many goroutines.
type Apart struct {
	cfg     Config
	session *engine.Session
	model   answerer
}

// OpenApart loads the model of cfg.Group. Errors are those of [Run].
func OpenApart(cfg Config, log *slog.Logger) (*Apart, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	session, err := engine.Open(engine.File{Path: cfg.Model, Name: cfg.Model, Data: cfg.ModelData}, cfg.options(log))
	if err != nil {
		return nil, err
	}
	opened, err := openModel(session.Graph, cfg)
	if err != nil {
		return nil, errors.Join(err, session.Close())
	}
	return &Apart{cfg, session, opened}, nil
}

// Close frees the model. Nobody may be asking it.
func (a *Apart) Close() error { return a.session.Close() }

// Answer is the group's answer to a frame, as one of its workers would give it. [ErrBroken] is returned when the model does not
// work, with whatever picture; what is wrong with this one is in the answer.
func (a *Apart) Answer(ctx context.Context, frame *flow.Frame) (*flow.Result, error) {
	began := time.Now()
	result := emptyResult(frame, a.cfg.Group, a.model.Description().File, began)
	err := error(nil)
	if frame.Error == "" {
		err = a.answer(ctx, frame, result)
	}
	failure := flow.Failure{Class: flow.ClassPicture}
	if errors.Is(err, engine.ErrRun) || errors.Is(err, engine.ErrTerminated) || errors.Is(err, model.ErrOutput) {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if broken := model.Check(ctx, model.On(a.session), a.model); broken != nil {
			return nil, brokenError{broken}
		}
		failure = flow.Failure{Class: flow.ClassLost, Cause: flow.CauseModel}
	}
	switch {
	case frame.Error != "":
		result.Error, result.Class = frame.Error, flow.ClassPicture
	case err != nil:
		result.Error, result.Class, result.Cause = flow.CutText(err.Error()), failure.Class, failure.Cause
		result.Detections, result.Depth = nil, nil
		result.Width, result.Height = frame.Width, frame.Height
	}
	result.Ledger[len(result.Ledger)-1].Work = time.Since(began)
	return result, nil
}

// answer runs the model on a frame's picture. A panic is this picture's error.
func (a *Apart) answer(ctx context.Context, frame *flow.Frame, result *flow.Result) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	p := picture.NewPicture()
	p.MaxPixels = a.cfg.MaxPixels
	defer p.Close()
	if err := p.Decode(frame.Picture); err != nil {
		return err
	}
	result.Width, result.Height = p.Size()
	height, width, err := a.model.Shape(p.Size())
	if err != nil {
		return err
	}
	tensors, err := a.session.Tensors([4]int{1, 3, height, width})
	if err != nil {
		return fmt.Errorf("%w: %w", engine.ErrRun, err)
	}
	defer tensors.Release()
	fit, err := a.model.Prepare(p, tensors.Input(), height, width)
	if err != nil {
		return err
	}
	output, shape, err := a.session.Run(ctx, tensors)
	if err != nil {
		return err
	}
	return readOutput(a.model, output, shape, fit, result)
}
