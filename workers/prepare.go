package workers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/workers/engine"
	"github.com/spatial-flow/spatial-flow/workers/picture"
)

// readyBytes bounds the inputs that are made or made ready, those in the model included: fifty of 640x640.
const readyBytes = 256 << 20

// memory bounds the bytes of inputs. One that is larger than all of it waits until it is alone.
type memory struct {
	free *semaphore.Weighted
	most int64
}

func newMemory(most int64) memory { return memory{semaphore.NewWeighted(most), most} }

// take waits for room for an input of so many bytes, and returns what is to be put back.
func (m memory) take(bytes int64) int64 {
	bytes = min(bytes, m.most)
	_ = m.free.Acquire(context.Background(), bytes) // only its context's end could fail
	return bytes
}

// prepareAll makes inputs of the pictures of frames, one after the other, until no more come.
func (w *worker) prepareAll() {
	p := picture.NewPicture()
	p.MaxPixels = w.cfg.MaxPixels
	defer func() {
		if err := p.Close(); err != nil {
			w.env.Log.Warn("memory of a picture not freed", "group", w.cfg.Group, "error", err)
		}
	}()
	for turns := w.taken.turns(); ; {
		t, ok := turns.next()
		if !ok {
			return
		}
		w.prepare(p, t)
	}
}

// prepare makes one frame's input.
func (w *worker) prepare(p *picture.Picture, t *task) {
	if !t.begin(prepares) {
		return
	}
	began := time.Now()
	t.resume(began)
	if w.expired(t) {
		w.drop(t, flow.DroppedExpired)
		return
	}
	if !w.begin(t) {
		return
	}
	err := w.input(p, t)
	t.pause(time.Now())
	switch {
	case errors.Is(err, engine.ErrRun):
		w.release(t)
		if t.end() {
			w.failed(t, flow.CauseModel, err)
		}
		return
	case err != nil:
		w.release(t)
		w.refuse(t, err)
		return
	}
	w.pace.prepared(t.idle.Sub(began))
	t.try.end(w, t, false)
	t.prepared()
	if w.running.Err() != nil || w.health.isLate() {
		w.withdraw(t)
	}
	w.enqueue(t)
}

// enqueue lets a frame wait for the model; when the worker has stopped, whoever took it gives it back.
func (w *worker) enqueue(t *task) {
	if !w.ready.put(t) {
		w.release(t)
	}
}

// input decodes a frame's picture and makes the model's input of it. A panic is this picture's error and not the worker's end.
func (w *worker) input(p *picture.Picture, t *task) (err error) {
	defer p.Trim()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	began := time.Now()
	if err := w.decode(p, t.frame); err != nil {
		return err
	}
	decoded := time.Now()
	t.result.Width, t.result.Height = p.Size()
	if t.shape[0], t.shape[1], err = w.model.Shape(p.Size()); err != nil {
		return err
	}
	if err := w.allocate(t); err != nil {
		return err
	}
	allocated := time.Now()
	if t.fit, err = w.model.Prepare(p, t.tensors.Input(), t.shape[0], t.shape[1]); err != nil {
		return err
	}
	w.observe("decode", decoded.Sub(began))
	w.observe("preprocess", time.Since(allocated))
	return nil
}

func (w *worker) decode(p *picture.Picture, frame *flow.Frame) error {
	if w.cfg.Shared == nil {
		return p.Decode(frame.Picture)
	}
	return p.DecodeFrame(w.cfg.Shared, frame, w.cfg.Group)
}

// allocate waits for memory, and takes the tensors of a frame's shape.
func (w *worker) allocate(t *task) (err error) {
	t.bytes = w.memory.take(4 * 3 * int64(t.shape[0]) * int64(t.shape[1]))
	t.tensors, err = w.device.Tensors([4]int{1, 3, t.shape[0], t.shape[1]})
	return err
}

// release gives a frame's tensors back.
func (w *worker) release(t *task) {
	if t.tensors != nil {
		t.tensors.Release()
		t.tensors = nil
	}
	w.memory.free.Release(t.bytes)
	t.bytes = 0
}

func (w *worker) observe(step string, took time.Duration) {
	w.metrics.seconds.WithLabelValues(step).Observe(took.Seconds())
}
