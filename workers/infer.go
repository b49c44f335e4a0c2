package workers

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/workers/model"
)

type (
	device  = model.Engine  // runs the group's model: ONNX Runtime, or what a test puts in its place
	tensors = model.Tensors // an input and its output
)

const (
	leastDeadline   = 10 * time.Second // of a run
	deadlineMedians = 20               // of those of late, if that is longer
	terminateWithin = 5 * time.Second  // after its deadline a run has ended, or never will
)

// errDeadline is the cause of a context's end that is a run's deadline.
var errDeadline = errors.New("deadline")

// deadline is how long a run may take.
func (w *worker) deadline() time.Duration {
	if w.cfg.InferDeadline > 0 {
		return w.cfg.InferDeadline
	}
	return max(leastDeadline, deadlineMedians*w.pace.infer())
}

// inferAll runs the model on frames, one after the other, until no more come. It has an OS thread of its own: CUDA keeps handles
// by thread.
func (w *worker) inferAll(ctx context.Context, slot int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for turns := w.ready.turns(); ; {
		t, ok := turns.next()
		if !ok {
			return
		}
		if err := w.infer(ctx, slot, t); err != nil {
			w.failedRun(t, err)
		}
	}
}

// infer runs the model on one frame, unless it is not to be run any more. Meanwhile nobody examines the model.
func (w *worker) infer(ctx context.Context, slot int, t *task) error {
	ran, err := w.inferAlone(ctx, slot, t)
	if err != nil || !ran {
		return err
	}
	if !t.end() { // it was given back, a moment too early
		w.release(t)
		w.calm()
		return nil
	}
	t.pause(time.Now())
	t.leave()
	w.inferred <- t
	return nil
}

func (w *worker) inferAlone(ctx context.Context, slot int, t *task) (ran bool, err error) {
	w.health.gate.RLock()
	defer w.health.gate.RUnlock()
	if !t.begin(runs) {
		w.release(t)
		return false, nil
	}
	t.resume(time.Now())
	if w.expired(t) {
		w.release(t)
		w.drop(t, flow.DroppedExpired)
		return false, nil
	}
	if !w.begin(t) {
		w.release(t)
		return false, nil
	}
	if !w.shapes.ready(t) {
		w.park(ctx, t)
		return false, nil
	}
	began := time.Now()
	w.load.begin(slot, began)
	t.output, t.outputs, err = w.runModel(ctx, t.tensors, w.deadline(), func() { w.late(t) })
	now := time.Now()
	w.load.end(slot, now)
	w.observe("infer", now.Sub(began))
	if err == nil {
		w.pace.inferred(now.Sub(began))
		w.aim()
	}
	return true, err
}

// runModel runs the model. When that takes too long, late is called, the run is told to end, and the worker ends if it does not; so it
// is when the worker stops and the run does not end soon.
func (w *worker) runModel(ctx context.Context, in tensors, within time.Duration, late func()) (output []float32, shape []int64, err error) {
	ctx, cancel := afterwards(ctx)
	defer cancel()
	ctx, end := context.WithTimeoutCause(ctx, within, errDeadline)
	defer end()
	ended := make(chan struct{})
	defer close(ended)
	stop := context.AfterFunc(ctx, func() {
		if errors.Is(context.Cause(ctx), errDeadline) {
			late()
		}
		select {
		case <-ended:
		case <-time.After(terminateWithin):
			w.hang(fmt.Errorf("an inference does not end, %v after it was told to", terminateWithin))
		}
	})
	defer stop()
	return w.device.Run(ctx, in)
}

// late gives back a frame whose run takes too long, before it is known whether that ends.
func (w *worker) late(t *task) {
	w.raise()
	if !t.end() { // it has ended meanwhile
		w.calm()
		return
	}
	w.countAgainst(t, flow.CauseDeadline, fmt.Errorf("no end of the inference within %v", w.deadline()))
}

// failedRun settles a frame whose run failed, or was ended.
func (w *worker) failedRun(t *task, err error) {
	w.release(t)
	if t.end() {
		t.pause(time.Now())
		w.failed(t, causeOf(err), err)
		return
	}
	w.examine(t.shape, err) // it was late, and is given back
	w.calm()
}

// aim sets how many frames it pays to have in hand beyond those in the model: as many as it takes in the time in which one is
// prepared. Of live ones, of which each that waits gets older, one less; but their answers must be stored before there are new
// ones.
func (w *worker) aim() {
	prepare, infer, answer := w.pace.prepare()+tripTime, max(w.pace.infer(), time.Microsecond), w.pace.answer()
	parallel := float64(w.cfg.Parallel)
	lossless := parallel*float64(prepare)/float64(infer) + 2
	live := parallel * float64(prepare+answer) / float64(infer)
	w.hand.aim(int(min(live, mostAhead)), int(min(lossless, mostAhead)))
}

const (
	tripTime  = time.Millisecond // to ask for a frame and get it
	mostAhead = 256
)
