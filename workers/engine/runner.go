package engine

import (
	"errors"
	"fmt"

	ort "github.com/yalue/onnxruntime_go"
)

// Runner runs a model with one float32 input and one float32 output that counts. It keeps its tensors from run to
// run, so one runner serves one goroutine.
type Runner struct {
	session *Session
	input   *ort.Tensor[float32]
	outputs []ort.Value // nil until the first run with an input of this shape
}

// NewRunner makes a runner for the session.
func (s *Session) NewRunner() *Runner {
	return &Runner{session: s, outputs: make([]ort.Value, len(s.Outputs))}
}

// Input is the input tensor's data, row-major, to be filled before [Runner.Run]. It is the same memory as long as the
// shape stays the same.
func (r *Runner) Input(shape ...int64) ([]float32, error) {
	if r.input != nil && ort.NewShape(shape...).Equals(r.input.GetShape()) {
		return r.input.GetData(), nil
	}
	if err := r.Close(); err != nil {
		return nil, err
	}
	input, err := ort.NewEmptyTensor[float32](ort.NewShape(shape...))
	if err != nil {
		return nil, fmt.Errorf("make input tensor %v: %w", shape, err)
	}
	r.input = input
	return input.GetData(), nil
}

// Run infers, and returns the first output with its shape; both are valid until the next call.
func (r *Runner) Run() (data []float32, shape []int64, err error) {
	if err := r.session.session.Run([]ort.Value{r.input}, r.outputs); err != nil {
		return nil, nil, fmt.Errorf("run %s: %w", r.session.Name, err)
	}
	output, ok := r.outputs[0].(*ort.Tensor[float32])
	if !ok {
		return nil, nil, fmt.Errorf("run %s: output %s is no float32 tensor", r.session.Name, r.session.Outputs[0].Name)
	}
	return output.GetData(), output.GetShape(), nil
}

// Close frees the tensors; the runner may be used again.
func (r *Runner) Close() error {
	var errs []error
	if r.input != nil {
		errs = append(errs, r.input.Destroy())
		r.input = nil
	}
	for i, output := range r.outputs {
		if output != nil {
			errs = append(errs, output.Destroy())
			r.outputs[i] = nil
		}
	}
	return errors.Join(errs...)
}
