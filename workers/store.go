package workers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
)

const (
	stoppedAfter  = 5 * time.Second // what a frame in hand may take to be stored after ctx ended
	losslessStore = 5 * time.Second // after which a slot waits no longer for a lossless result to be stored, and takes live frames
	liveStore     = 2 * time.Second // after which the result of a live frame is of no use any more
)

// finish stores the result, says so, and acks the frame. A lossless result whose stream is away is stored without the slot, which
// goes on with live frames meanwhile: that is rest, which lasts however long NATS takes.
func (w *worker) finish(ctx context.Context, msg jetstream.Msg, result *flow.Result, taken time.Time, meta *jetstream.MsgMetadata, try attempt) (rest func()) {
	hop := &result.Ledger[len(result.Ledger)-1]
	hop.Work = time.Since(taken)
	storing := time.Now()
	within := liveStore
	if result.Mode == flow.ModeLossless {
		within = losslessStore
	}
	err := w.store(ctx, within, result)
	if result.Mode == flow.ModeLossless && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		w.load.end(w, time.Now(), false, hop.Wait)
		return func() { try.end(ctx, w.settle(ctx, msg, result, storing, meta, w.store(ctx, 0, result))) }
	}
	answered := w.settle(ctx, msg, result, storing, meta, err)
	w.load.end(w, time.Now(), answered, hop.Wait)
	try.end(ctx, answered)
	return nil
}

// settle says that the result is stored, and acks the frame: in this order. What can't be stored goes to another worker: at once
// when this one stops, else later. answered says which.
func (w *worker) settle(ctx context.Context, msg jetstream.Msg, result *flow.Result, storing time.Time, meta *jetstream.MsgMetadata, err error) (answered bool) {
	hop := result.Ledger[len(result.Ledger)-1]
	switch {
	case err == nil:
	case ctx.Err() != nil || result.Mode == flow.ModeLive:
		_ = msg.Nak() // unheard it comes again after AckWait; a live frame has expired then, and is dropped
		return false
	default:
		w.env.Log.Error("result not stored: the frame is given back", "frame", result.ID().String(), "error", err)
		bus.GiveBack(msg, meta.NumDelivered)
		return false
	}
	w.metrics.seconds.WithLabelValues("wait").Observe(hop.Wait.Seconds())
	w.metrics.seconds.WithLabelValues("publish").Observe(time.Since(storing).Seconds())
	outcome := flow.OutcomeComplete
	switch {
	case result.Error != "":
		outcome = flow.OutcomeError
	case result.Dropped != "":
		outcome = flow.OutcomeDropped
	}
	done := flow.Done{
		Version: result.Version, Session: result.Session, Seq: result.Seq, Wait: hop.Wait, Work: hop.Work,
		Outcome: outcome, Reason: result.Dropped, Queue: queue(meta, result.Mode),
	}
	if err := w.env.Bus.PublishDone(w.cfg.Group, result.Source, done); err != nil {
		w.env.Log.Debug("done not sent", "error", err) // in live mode the credit returns by itself, later
	}
	_ = msg.Ack() // unheard the frame is answered again, which the fuser takes as a duplicate
	return true
}

// queue is how many live frames waited for the group when it took this one, this one included; 0 of a lossless one.
func queue(meta *jetstream.MsgMetadata, mode flow.Mode) uint64 {
	if mode != flow.ModeLive {
		return 0
	}
	return meta.NumPending + 1
}

// store tries until ctx has ended for stoppedAfter, so much time is over unless it is 0, or trying again is of no use.
func (w *worker) store(ctx context.Context, within time.Duration, result *flow.Result) error {
	ctx, cancel := afterwards(ctx)
	defer cancel()
	if within > 0 {
		ctx, cancel = context.WithTimeout(ctx, within)
		defer cancel()
	}
	told := false
	policy := bus.Policy{
		Shrink: func() bool { return shrink(result) },
		Waiting: func(err error) {
			if !told {
				w.env.Log.Warn("result not stored yet", "frame", result.ID().String(), "error", err)
				told = true
			}
		},
	}
	err := bus.Store(ctx, policy, func(ctx context.Context) error {
		result.Sent = clock.Stamp(time.Now())
		return w.env.Bus.PublishResult(ctx, result)
	})
	if errors.Is(err, bus.ErrStored) {
		return nil
	}
	return err
}

// shrink makes a result that is too large smaller, and says so in its error: without its map, then without anything but the
// reason. False is returned when nothing is left to take away.
func shrink(result *flow.Result) bool {
	switch {
	case result.Depth != nil:
		result.Error = fmt.Sprintf("a depth map of %d bytes does not fit into a message", len(result.Depth.Data))
		result.Depth = nil
	case len(result.Detections) > 0 || len(result.Answers) > 0 || len(result.Ledger) > 1:
		if result.Error == "" {
			result.Error = fmt.Sprintf("an answer of %d detections does not fit into a message", len(result.Detections))
		}
		result.Detections, result.Answers, result.Ledger = nil, nil, result.Ledger[len(result.Ledger)-1:]
	default:
		return false
	}
	return true
}

// afterwards is ctx, living on for stoppedAfter.
func afterwards(ctx context.Context) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(stoppedAfter, cancel)
	})
	return longer, func() { stop(); cancel() }
}
