package workers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/workers/model"
	"github.com/spatial-flow/spatial-flow/workers/picture"
)

const (
	warmPatience = time.Second     // of frames of a shape that is being warmed up
	warmDelay    = 2 * time.Second // after which those that are given back come again
)

// shapes are the inputs' shapes that the model has run, or is being run with for the first time: the provider may take minutes
// for one.
type shapes struct {
	mu    sync.Mutex
	known map[[2]int]*warming
}

// warming is a shape that is being warmed up, or, when done, can be run.
type warming struct {
	done   bool
	since  time.Time
	parked []*task
}

func newShapes() *shapes { return &shapes{known: map[[2]int]*warming{}} }

func (s *shapes) ready(t *task) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.known[t.shape]
	return k != nil && k.done
}

// park adds a frame to those that wait for its shape. begin is true for the first of them: the shape is to be warmed up. late is
// true when there is no use in waiting: it takes long.
func (s *shapes) park(t *task, now time.Time) (begin, late bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.known[t.shape]
	if k == nil {
		k = &warming{since: now}
		s.known[t.shape], begin = k, true
	}
	if late = now.Sub(k.since) >= warmPatience; !late {
		k.parked = append(k.parked, t)
		t.state.CompareAndSwap(runs, waits)
	}
	return begin, late
}

// unpark takes the frames that wait for a shape.
func (s *shapes) unpark(shape [2]int) (parked []*task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.known[shape]; k != nil {
		parked, k.parked = k.parked, nil
	}
	return parked
}

// warmed notes that the shape can be run, or, after an error, that it is not known any more; its frames are returned.
func (s *shapes) warmed(shape [2]int, err error) []*task {
	parked := s.unpark(shape)
	s.mu.Lock()
	defer s.mu.Unlock()
	if delete(s.known, shape); err == nil {
		s.known[shape] = &warming{done: true}
	}
	return parked
}

// park lets a frame that the model was to be run on wait while it is run with its shape for the first time, apart from the frames of
// other shapes.
func (w *worker) park(ctx context.Context, t *task) {
	w.warmings.Add(1) // whoever waits for them waits for all frames before: this one is not over yet
	defer w.warmings.Done()
	begin, late := w.shapes.park(t, time.Now())
	if late {
		w.release(t)
		w.warmLater(t)
		return
	}
	if w.running.Err() != nil || w.health.isLate() {
		w.withdraw(t) // whoever took it has seen that, and waits for the model to be done with it
	}
	if !begin {
		return
	}
	w.env.Log.Info("a new shape", "group", w.cfg.Group, "height", t.shape[0], "width", t.shape[1])
	shape := t.shape
	impatient := time.AfterFunc(warmPatience, func() {
		for _, t := range w.shapes.unpark(shape) {
			w.release(t)
			w.warmLater(t)
		}
	})
	w.warmings.Go(func() {
		err := w.dummy(ctx, shape, w.cfg.WarmDeadline)
		impatient.Stop()
		if err != nil && ctx.Err() == nil {
			w.examine(shape, err)
		}
		for _, t := range w.shapes.warmed(shape, err) {
			if err == nil {
				t.try.end(w, t, false)
				w.enqueue(t)
				continue
			}
			w.release(t)
			if t.end() {
				w.verdict(t, causeOf(err), err)
			}
		}
	})
}

// causeOf tells what ended a run.
func causeOf(err error) flow.Cause {
	if errors.Is(err, errDeadline) {
		return flow.CauseDeadline
	}
	return flow.CauseModel
}

// warmLater settles a frame whose shape takes long to warm up.
func (w *worker) warmLater(t *task) {
	if t.live() {
		w.drop(t, flow.DroppedWarming)
	} else if t.end() {
		w.giveBack(t, warmDelay)
	}
}

// warmUp runs the model with each of its first shapes, so that a worker that is ready can work.
func (w *worker) warmUp(ctx context.Context) error {
	for _, shape := range w.model.FirstShapes() {
		if err := w.dummy(ctx, shape, w.cfg.WarmDeadline); err != nil {
			return fmt.Errorf("a first picture at %dx%d: %w", shape[1], shape[0], err)
		}
		w.shapes.warmed(shape, nil)
	}
	return nil
}

// dummy runs the model with a picture of the worker's own at a shape (height, width of the input), and looks at what comes out.
func (w *worker) dummy(ctx context.Context, shape [2]int, within time.Duration) error {
	return model.Try(ctx, trial{w, within}, w.model, shape)
}

// trial is the worker's device, whose runs are no frame's and may take so long.
type trial struct {
	w      *worker
	within time.Duration
}

func (t trial) Tensors(shape [4]int) (tensors, error) { return t.w.device.Tensors(shape) }

func (t trial) Run(ctx context.Context, in tensors) ([]float32, []int64, error) {
	return t.w.runModel(ctx, in, t.within, func() {})
}

// readOutput fills in what an output says of a picture. A panic is the output's error, as what the fuser would refuse is.
func readOutput(m answerer, output []float32, shape []int64, fit picture.Fit, result *flow.Result) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: panic: %v", model.ErrOutput, r)
		}
	}()
	if err := m.Answer(output, shape, fit, result); err != nil {
		return err
	}
	if err := result.Validate(); err != nil {
		return fmt.Errorf("%w: %w", model.ErrOutput, err)
	}
	return nil
}
