package workers

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/spatial-flow/spatial-flow/flow"
)

// ErrBroken is returned when the model does not work here: it fails on the worker's own picture, or a run of it never ends. A
// program that ends with it exits with [ExitBroken]: started again, on this machine or another, it may work.
var ErrBroken = errors.New("the model does not work here")

// ExitBroken is the exit code of a worker whose model does not work here (EX_SOFTWARE of sysexits.h).
const ExitBroken = 70

// brokenError is [ErrBroken] with its reason and its exit code.
type brokenError struct{ reason error }

func (e brokenError) Error() string   { return fmt.Sprintf("%v: %v", ErrBroken, e.reason) }
func (e brokenError) Unwrap() []error { return []error{ErrBroken, e.reason} }
func (e brokenError) ExitCode() int   { return ExitBroken }

// health is whether the model works.
type health struct {
	gate sync.RWMutex // held by each run, and alone by who examines the model

	mu    sync.Mutex
	why   error         // it does not
	alarm chan struct{} // closed while a run is late
	late  int           // runs
}

func newHealth() *health { return &health{alarm: make(chan struct{})} }

func (h *health) broken() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.why
}

// alarmed is closed while a run is late: who waits for the model waits for too long.
func (h *health) alarmed() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.alarm
}

func (h *health) isLate() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.late > 0
}

// raise begins an alarm: what waits is given back, and nothing is taken.
func (w *worker) raise() {
	w.health.mu.Lock()
	defer w.health.mu.Unlock()
	if w.health.late++; w.health.late == 1 {
		close(w.health.alarm)
		w.hand.change(func() { w.hand.pauses++ })
	}
}

// calm ends it.
func (w *worker) calm() {
	w.health.mu.Lock()
	defer w.health.mu.Unlock()
	if w.health.late--; w.health.late == 0 {
		w.health.alarm = make(chan struct{})
		w.hand.change(func() { w.hand.pauses-- })
	}
}

// failed settles a frame on which the model failed, once it is known whose fault that is.
func (w *worker) failed(t *task, cause flow.Cause, err error) {
	w.examine(t.shape, err)
	w.verdict(t, cause, err)
}

// verdict counts a failure against the frame, unless the model is broken or the worker stops.
func (w *worker) verdict(t *task, cause flow.Cause, err error) {
	if w.health.broken() != nil || w.running.Err() != nil {
		w.giveBack(t, w.backAfter())
		return
	}
	w.countAgainst(t, cause, err)
}

// examine tells whose fault a failure at an input's shape is, with a picture of the worker's own: at that shape, then at the first
// one. If both fail it is the worker's, which is broken then. Meanwhile it takes nothing.
func (w *worker) examine(shape [2]int, failure error) {
	ctx := w.running
	defer w.hand.pause()()
	w.health.gate.Lock()
	defer w.health.gate.Unlock()
	if w.health.broken() != nil || ctx.Err() != nil {
		return
	}
	first := w.model.FirstShapes()[0]
	err := w.dummy(ctx, shape, w.deadline())
	if err != nil && shape != first {
		err = w.dummy(ctx, first, w.deadline())
	}
	if err == nil || ctx.Err() != nil {
		return
	}
	w.breakDown(fmt.Errorf("a frame failed (%w), and so does a picture of the worker's own: %w", failure, err))
}

// breakDown ends the worker: what it has in hand is given back.
func (w *worker) breakDown(reason error) {
	w.health.mu.Lock()
	known := w.health.why != nil
	if !known {
		w.health.why = brokenError{reason}
	}
	w.health.mu.Unlock()
	if known {
		return
	}
	w.env.Health.SetReady(false)
	w.env.Log.Error("the model does not work here: all frames are given back", "group", w.cfg.Group, "error", reason)
	if err := w.env.Bus.PublishAlive(w.status()); err != nil {
		w.env.Log.Debug("alive not sent", "error", err)
	}
	w.stop()
}

// hang ends the worker without waiting for the run that does not end.
func (w *worker) hang(reason error) {
	if w.running.Err() == nil {
		w.breakDown(reason)
	}
	w.stuckOnce.Do(func() { close(w.stuck) })
}

// note is what the worker can't do now, and what mends it.
func (w *worker) note() string {
	if why := w.health.broken(); why != nil {
		return flow.CutText(why.Error() + "; it ends, to be started again")
	}
	return w.newer.Note("worker")
}

// peers are the other workers of the group that are heard.
type peers struct {
	own string

	mu    sync.Mutex
	heard map[string]time.Time // by instance
}

const (
	peerFor   = 3 * time.Second // after which one that is not heard is gone
	mostPeers = 4096            // that are told apart
)

// listen hears the group's workers until the subscription ends.
func (p *peers) listen(w *worker) (*nats.Subscription, error) {
	return w.env.Bus.Subscribe(flow.AliveSubject(w.cfg.Group, "*"), func(msg *nats.Msg) {
		if alive, err := flow.ParseAlive(msg.Data); err == nil && alive.Instance != p.own {
			p.hear(alive.Instance, time.Now())
		}
	})
}

func (p *peers) hear(instance string, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for other, at := range p.heard {
		if now.Sub(at) >= peerFor {
			delete(p.heard, other)
		}
	}
	if len(p.heard) < mostPeers {
		p.heard[instance] = now
	}
}

// any says whether another worker lives.
func (p *peers) any() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, at := range p.heard {
		if time.Since(at) < peerFor {
			return true
		}
	}
	return false
}
