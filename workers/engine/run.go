package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	ort "github.com/yalue/onnxruntime_go"
)

var (
	// ErrRun is returned when ONNX Runtime could not run the model: [Cause] tells whose fault that is.
	ErrRun = errors.New("inference failed")
	// ErrTerminated is returned when a run was ended because its context ended.
	ErrTerminated = errors.New("inference ended early")
)

// Run infers, and returns the model's first output with its shape, which are valid until the tensors are released. The
// output's shape must follow from the input's.
//
// When ctx ends ONNX Runtime is told to stop, and once it has, [ErrTerminated] is returned with ctx's cause. It looks at that
// between two nodes of the graph: Run does not return before, and whoever can't wait for that must not wait for Run.
// [ErrRun] is returned, naming the file, when the run fails.
func (s *Session) Run(ctx context.Context, t *Tensors) (output []float32, shape []int64, err error) {
	if ctx.Err() != nil {
		return nil, nil, fmt.Errorf("run %s: %w: %w", s.Name, ErrTerminated, context.Cause(ctx))
	}
	outputs := []ort.Value{nil}
	if t.output.value != nil {
		outputs[0] = t.output.value
	}
	told := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(told)
		_ = t.options.Terminate()
	})
	err = s.session.RunWithOptions([]ort.Value{t.input.value}, outputs, t.options)
	s.firstRun.Do(func() { restoreSignals() }) // CUDA replaces them as late as that
	terminated := !stop()
	if terminated {
		<-told
		_ = t.options.UnsetTerminate()
	}
	switch {
	case err != nil && terminated && strings.Contains(err.Error(), "terminate flag"):
		return nil, nil, fmt.Errorf("run %s: %w: %w", s.Name, ErrTerminated, context.Cause(ctx))
	case err != nil:
		return nil, nil, fmt.Errorf("%w: %s: %w", ErrRun, s.Name, err)
	case t.output.value == nil:
		if err := t.keep(outputs[0]); err != nil {
			return nil, nil, fmt.Errorf("%w: %s: %w", ErrRun, s.Name, err)
		}
	}
	return t.output.data, t.output.value.GetShape(), nil
}

// keep makes an output of the shape that the first run made, and takes over what is in it.
func (t *Tensors) keep(made ort.Value) error {
	defer made.Destroy()
	first, ok := made.(*ort.Tensor[float32])
	if !ok {
		return fmt.Errorf("output %s is no float32 tensor", t.session.Outputs[0].Name)
	}
	var err error
	if t.output, err = newTensor(first.GetShape()); err != nil {
		return fmt.Errorf("make output tensor %v: %w", first.GetShape(), err)
	}
	copy(t.output.data, first.GetData())
	return nil
}
