package engine

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	ort "github.com/yalue/onnxruntime_go"
)

// keptBytes bounds the tensors of a session that nobody uses: forty of a depth model at 518x924.
const keptBytes = 256 << 20

// Tensors are a model's input and output for one run after the other of one shape. One goroutine at a time may use them.
type Tensors struct {
	session *Session
	shape   [4]int
	input   tensor
	output  tensor // empty until the first run has told its shape
	options *ort.RunOptions
}

// Tensors takes a set of tensors from the session's store, whose input is of that shape (batch, channels, height, width), or
// makes one. Release gives it back; the store keeps those that were used last, 256 MiB in all. [ErrRun] is returned when there is
// no memory for it.
func (s *Session) Tensors(shape [4]int) (*Tensors, error) {
	if t := s.store.take(shape); t != nil {
		return t, nil
	}
	t := &Tensors{session: s, shape: shape}
	var err error
	if t.input, err = newTensor([]int64{int64(shape[0]), int64(shape[1]), int64(shape[2]), int64(shape[3])}); err != nil {
		return nil, fmt.Errorf("%w: %s: make input tensor %v: %w", ErrRun, s.Name, shape, err)
	}
	if t.options, err = ort.NewRunOptions(); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %s: make run options: %w", ErrRun, s.Name, err), t.input.destroy())
	}
	return t, nil
}

// Input is the input's data, row-major: picture i of a batch is at Input()[i*3*H*W:]. It holds what was there last.
func (t *Tensors) Input() []float32 { return t.input.data }

// Release gives the tensors back to the store. Neither they nor their input or output may be used then.
func (t *Tensors) Release() { t.session.store.put(t) }

func (t *Tensors) bytes() int { return t.input.bytes() + t.output.bytes() }

func (t *Tensors) destroy() error {
	return errors.Join(t.input.destroy(), t.output.destroy(), t.options.Destroy())
}

// store keeps tensors that nobody uses, those that were released first being the first to go.
type store struct {
	mu     sync.Mutex
	free   []*Tensors // in the order of their release
	bytes  int
	most   int // bytes
	closed bool
}

func (s *store) take(shape [4]int) *Tensors {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, t := range slices.Backward(s.free) {
		if t.shape == shape {
			s.free = slices.Delete(s.free, i, i+1)
			s.bytes -= t.bytes()
			return t
		}
	}
	return nil
}

func (s *store) put(t *Tensors) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, t)
	s.bytes += t.bytes()
	for len(s.free) > 0 && (s.bytes > s.most || s.closed) {
		oldest := s.free[0]
		s.free = slices.Delete(s.free, 0, 1)
		s.bytes -= oldest.bytes()
		_ = oldest.destroy() // freeing does not fail
	}
}

func (s *store) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.free {
		_ = t.destroy()
	}
	s.free, s.bytes, s.closed = nil, 0, true
}
