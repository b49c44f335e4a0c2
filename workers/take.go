package workers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/workers/picture"
)

// task is a frame in hand: from when it was taken until it is answered, or given back.
type task struct {
	msg      jetstream.Msg
	meta     *jetstream.MsgMetadata
	frame    *flow.Frame
	result   *flow.Result
	try      attempt
	received time.Time
	idle     time.Time     // since when it waits for a stage
	stream   time.Duration // that a live one waited in its stream
	waited   time.Duration // for stages here
	work     time.Duration // of the stages

	shape   [2]int // of the input: height, width
	fit     picture.Fit
	tensors tensors
	bytes   int64 // of memory that the tensors are counted with
	output  []float32
	outputs []int64 // the output's shape

	state atomic.Int32
	left  chan struct{} // closed when the model is done with it, or it is given back
	leave func()        // closes left
}

// States of a task. Whoever makes it over settles it.
const (
	waits    = iota // for a stage
	prepares        // its input is made
	runs            // the model is run on it
	settled         // it is over: answered or given back, or about to be
)

// begin claims a frame that waits for a stage.
func (t *task) begin(stage int32) bool { return t.state.CompareAndSwap(waits, stage) }

// prepared lets it wait for the next stage, unless it is over.
func (t *task) prepared() { t.state.CompareAndSwap(prepares, waits) }

// withdraw settles a frame that still waits.
func (t *task) withdraw() bool { return t.state.CompareAndSwap(waits, settled) }

// end settles a frame; false when somebody else has.
func (t *task) end() bool { return t.state.Swap(settled) != settled }

// resume notes that a stage begins with it, and how long it waited for that.
func (t *task) resume(now time.Time) {
	t.waited += now.Sub(t.idle)
	t.idle = now
}

// pause notes that the stage is done with it.
func (t *task) pause(now time.Time) {
	t.work += now.Sub(t.idle)
	t.idle = now
}

func (t *task) live() bool { return t.frame.Mode == flow.ModeLive }

// delays tells how much longer live frames waited in their stream than the quickest of late.
type delays struct {
	mu sync.Mutex
	clock.Delays
}

func (d *delays) of(m clock.Delivery) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.Of(m)
}

// follow takes frames of a mode, one after the other: the next one once the model is done with the one before, there is room, and
// it pays to have a frame more in hand. It is number k of those who do so.
func (w *worker) follow(ctx context.Context, mode flow.Mode, k int) error {
	if !w.hand.wait(ctx, mode, k) {
		return nil
	}
	return w.env.Bus.FollowFrames(ctx, w.env.Log, w.cfg.Group, mode, w.reached, func(msg jetstream.Msg) {
		if t := w.take(msg, mode); t != nil {
			w.await(ctx, t)
		}
		w.hand.wait(ctx, mode, k)
	})
}

// await waits until the model is done with a frame. When the worker stops, or a run of the model does not end, a frame that still
// waits is given back.
func (w *worker) await(ctx context.Context, t *task) {
	select {
	case <-t.left:
		return
	case <-ctx.Done():
	case <-w.health.alarmed():
	}
	w.withdraw(t) // if it is being prepared, who does that sees the same
	<-t.left
}

// withdraw gives a frame back that waits for a stage.
func (w *worker) withdraw(t *task) {
	if t.withdraw() {
		w.giveBack(t, w.backAfter())
	}
}

// backAfter is the delay of what is given back when this worker stops: others get it at once, unless it is broken: then all are
// given back together, maybe by many, and what is behind that may be over in a second.
func (w *worker) backAfter() time.Duration {
	if w.health.broken() != nil {
		return brokenDelay
	}
	return 0
}

// brokenDelay is after what time frames of a worker that is broken come again.
const brokenDelay = time.Second

// take reads a message and sends it on its way. What is no frame is terminated and counted; a frame of a newer version is given
// back. Then nil is returned.
func (w *worker) take(msg jetstream.Msg, mode flow.Mode) *task {
	received := time.Now()
	frame := new(flow.Frame)
	err := flow.Decode(msg.Data(), frame)
	if err == nil {
		err = frame.Validate()
	}
	if err == nil {
		err = frame.ValidSubject(msg.Subject())
	}
	if err == nil && frame.Mode != mode {
		err = fmt.Errorf("mode %q of a frame that was taken as %s", frame.Mode, mode)
	}
	meta, metaErr := msg.Metadata()
	switch err = errors.Join(err, metaErr); {
	case errors.Is(err, flow.ErrNewer) && metaErr == nil:
		w.metrics.refused.WithLabelValues("frames", "newer").Inc()
		if w.newer.GiveBack(msg, meta.NumDelivered, err) {
			w.env.Log.Warn("frames are of a newer version: they are given back until a newer worker takes them", "group", w.cfg.Group, "error", err)
		}
		return nil
	case err != nil:
		w.metrics.refused.WithLabelValues("frames", "malformed").Inc()
		w.env.Log.Warn("frame refused", "group", w.cfg.Group, "error", err)
		_ = msg.TermWithReason("no frame") // unheard it comes again, and is terminated again
		return nil
	}
	if meta.NumDelivered > 1 {
		w.metrics.redelivered.Inc()
	}
	t := newTask(msg, meta, frame, received)
	t.result = emptyResult(frame, w.cfg.Group, w.is.File, received)
	w.hand.take(t)
	if t.live() {
		t.stream = w.delays.of(clock.Delivery{
			Connection: w.env.Bus.Reconnects(), Seq: meta.Sequence.Stream, Stored: meta.Timestamp, Received: received,
		})
	}
	switch {
	case frame.Error != "":
		w.refuse(t, errors.New(frame.Error))
	case w.expired(t):
		w.drop(t, flow.DroppedExpired)
	case w.failures.here(t.frame.ID()) && w.peers.any():
		if t.end() {
			w.giveBack(t, elsewhereDelay) // it has had its try here
		}
	default:
		w.taken.put(t)
	}
	return t
}

func newTask(msg jetstream.Msg, meta *jetstream.MsgMetadata, frame *flow.Frame, received time.Time) *task {
	t := &task{msg: msg, meta: meta, frame: frame, received: received, idle: received, left: make(chan struct{})}
	t.leave = sync.OnceFunc(func() { close(t.left) })
	return t
}

// expired says whether a live frame has waited longer than its budget. The budget limits waiting, never the model's own time:
// twice that is always allowed.
func (w *worker) expired(t *task) bool {
	return t.live() && t.stream+t.waited > max(t.frame.Budget, 2*w.pace.work())
}

// emptyResult is what a group answers of a frame before it has looked at it.
func emptyResult(frame *flow.Frame, group, model string, taken time.Time) *flow.Result {
	ledger := frame.Ledger[:min(len(frame.Ledger), flow.MaxHops-1)]
	return &flow.Result{
		Version: frame.Version, Partition: frame.Partition, Copy: frame.Copy, Group: group,
		Source: frame.Source, Session: frame.Session, Seq: frame.Seq, Mode: frame.Mode,
		Captured: frame.Captured, Width: frame.Width, Height: frame.Height, Plan: frame.Plan, Budget: frame.Budget, File: frame.File, Model: model,
		Ledger: append(ledger, flow.Hop{Stage: group, Wait: max(0, time.Duration(clock.Stamp(taken)-frame.Sent))}),
	}
}

// lanes are where frames wait for a stage, those of each mode apart.
type lanes struct {
	mu             sync.RWMutex
	closed         bool
	live, lossless chan *task
}

// newLanes have room for so many frames of each mode.
func newLanes(most int) *lanes {
	return &lanes{live: make(chan *task, most), lossless: make(chan *task, most)}
}

// put lets a frame wait; false when the lanes are closed.
func (l *lanes) put(t *task) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	switch {
	case l.closed:
		return false
	case t.live():
		l.live <- t
	default:
		l.lossless <- t
	}
	return true
}

// close ends those who take turns, once nothing waits.
func (l *lanes) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	close(l.live)
	close(l.lossless)
}

// liveInARow is how many live frames a goroutine works on at most while a lossless one waits.
const liveInARow = 9

// turns are one goroutine's of a stage, live frames first.
type turns struct {
	live, lossless <-chan *task
	row            int // live ones since the last lossless one
}

func (l *lanes) turns() *turns { return &turns{live: l.live, lossless: l.lossless} }

// next waits for a frame; ok is false when the lanes are closed and empty.
func (u *turns) next() (t *task, ok bool) {
	for {
		if t, ok := u.waiting(); ok {
			return t, true
		}
		if u.live == nil && u.lossless == nil {
			return nil, false
		}
		select {
		case t, ok = <-u.live:
			if u.live = ifOpen(u.live, ok); ok {
				return u.took(t), true
			}
		case t, ok = <-u.lossless:
			if u.lossless = ifOpen(u.lossless, ok); ok {
				return u.took(t), true
			}
		}
	}
}

// waiting takes a frame of the mode that comes first, if one waits.
func (u *turns) waiting() (t *task, ok bool) {
	first := &u.live
	if u.row >= liveInARow {
		first = &u.lossless
	}
	select {
	case t, ok = <-*first:
		if *first = ifOpen(*first, ok); ok {
			return u.took(t), true
		}
	default:
	}
	return nil, false
}

func (u *turns) took(t *task) *task {
	if u.row++; !t.live() {
		u.row = 0
	}
	return t
}

func ifOpen(lane <-chan *task, open bool) <-chan *task {
	if open {
		return lane
	}
	return nil
}
