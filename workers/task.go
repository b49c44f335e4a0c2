package workers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/workers/picture"
)

const (
	holdEvery = time.Second // InProgress of the frame in hand; AckWait is 3 s
	worksKept = 15          // of a slot's last frames, whose median says how long one takes
)

// worker answers one frame after the other: one slot of a group.
type worker struct {
	cfg     Config
	env     service.Env
	metrics metrics
	model   string
	picture *picture.Picture
	slot    slot
	load    *load
	works   []time.Duration // of the last frames that were looked at
	delays  *delays         // of live frames
	newer   *bus.Newer      // gives frames back
	reached func()          // a consumer of the group was found
}

// delays tells all slots of a worker how much longer live frames waited than the quickest of late.
type delays struct {
	mu sync.Mutex
	clock.Delays
}

func (d *delays) of(m clock.Delivery) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.Of(m)
}

func (w *worker) close() {
	if err := errors.Join(w.slot.Close(), w.picture.Close()); err != nil {
		w.env.Log.Warn("memory of a slot not freed", "group", w.cfg.Group, "error", err)
	}
}

// handle answers one frame: its result is stored before the frame is acked. What is no frame is
// terminated and counted; a frame of a newer version is given back. rest, unless nil, is what is left to do without the slot.
func (w *worker) handle(ctx context.Context, msg jetstream.Msg, mode flow.Mode) (rest func()) {
	taken := time.Now()
	frame := new(flow.Frame)
	err := flow.Decode(msg.Data(), frame)
	if err == nil {
		err = frame.Validate()
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
	w.load.begin(w, taken) // until finish
	result := w.result(frame, taken)
	var try attempt
	switch {
	case frame.Error != "":
		result.Error = frame.Error
	case mode == flow.ModeLive && w.expired(frame, meta, taken):
		result.Dropped = flow.DroppedExpired
		w.metrics.dropped.WithLabelValues(result.Dropped).Inc()
	default:
		giveUp := false
		if meta.NumDelivered > 1 {
			try, giveUp = w.begin(ctx, frame)
		}
		if giveUp {
			result.Error = fmt.Sprintf("given up: %d workers began it when it came again, and died or lost NATS over it", try.before)
			break
		}
		if err := w.answer(frame, result, taken); err != nil {
			result.Error, result.Detections, result.Depth, result.Answers = flow.CutText(err.Error()), nil, nil, nil
			result.Width, result.Height = frame.Width, frame.Height
		}
		w.remember(time.Since(taken))
	}
	return w.finish(ctx, msg, result, taken, meta, try)
}

// expired says whether a live frame has waited for the group longer than its budget. The budget limits waiting, never the
// model's own time: twice that is always allowed.
func (w *worker) expired(frame *flow.Frame, meta *jetstream.MsgMetadata, taken time.Time) bool {
	works := slices.Sorted(slices.Values(w.works))
	budget := frame.Budget
	if len(works) > 0 {
		budget = max(budget, 2*works[len(works)/2])
	}
	waited := w.delays.of(clock.Delivery{
		Connection: w.env.Bus.Reconnects(), Seq: meta.Sequence.Stream, Stored: meta.Timestamp, Received: taken,
	})
	return waited > budget
}

func (w *worker) remember(work time.Duration) {
	if w.works = append(w.works, work); len(w.works) > worksKept {
		w.works = w.works[1:]
	}
}

// hold tells the server every second that the message is worked on, until release.
func hold(msg jetstream.Msg) (release func()) {
	released := make(chan struct{})
	var holding sync.WaitGroup
	holding.Go(func() {
		ticker := time.NewTicker(holdEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				_ = msg.InProgress() // unheard the frame goes to another worker too, and is answered once all the same
			case <-released:
				return
			}
		}
	})
	return func() { close(released); holding.Wait() }
}

// result is the empty answer to a frame.
func (w *worker) result(frame *flow.Frame, taken time.Time) *flow.Result {
	ledger := frame.Ledger[:min(len(frame.Ledger), flow.MaxHops-1)]
	return &flow.Result{
		Version: frame.Version, Partition: frame.Partition, Copy: frame.Copy, Group: w.cfg.Group,
		Source: frame.Source, Session: frame.Session, Seq: frame.Seq, Mode: frame.Mode,
		Captured: frame.Captured, Width: frame.Width, Height: frame.Height, Plan: frame.Plan, Budget: frame.Budget, File: frame.File, Model: w.model,
		Ledger: append(ledger, flow.Hop{Stage: w.cfg.Group, Wait: max(0, time.Duration(clock.Stamp(taken)-frame.Sent))}),
	}
}

// answer looks at the picture. Whatever happens there, a panic included, is this frame's error and not the worker's end.
func (w *worker) answer(frame *flow.Frame, result *flow.Result, taken time.Time) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	last := taken
	lap := func(step string) {
		now := time.Now()
		w.metrics.seconds.WithLabelValues(step).Observe(now.Sub(last).Seconds())
		last = now
	}
	defer w.picture.Trim()
	if err := w.decode(frame); err != nil {
		return err
	}
	lap("decode")
	result.Width, result.Height = w.picture.Size()
	rig()
	if err := w.slot.Answer(w.picture, result, lap); err != nil {
		return err
	}
	return result.Validate() // what the fuser would refuse is an error too: the frame must have its answer
}

func (w *worker) decode(frame *flow.Frame) error {
	if w.cfg.Shared == nil {
		return w.picture.Decode(frame.Picture)
	}
	return w.picture.DecodeFrame(w.cfg.Shared, frame, w.cfg.Group)
}
