package workers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
)

const (
	stoppedAfter = 5 * time.Second // what is in hand may take to be finished after ctx ended
	liveStore    = 2 * time.Second // after which the result of a live frame is of no use any more
)

// finish stores a frame's result, says so, and acks the frame: in this order. What can't be stored goes to another worker: at once
// when this one stops, else later. A lossless result is tried for as long as NATS takes.
func (w *worker) finish(ctx context.Context, t *task) {
	defer w.hand.drop(t)
	if t.result.Class != flow.ClassLost {
		t.try.end(w, t, true)
	}
	result, storing := t.result, time.Now()
	within := time.Duration(0)
	if t.live() {
		within = liveStore
	}
	if err := w.store(ctx, within, result); err != nil {
		t.try.end(w, t, false)
		if ctx.Err() != nil || t.live() {
			_ = t.msg.Nak() // unheard it comes again after AckWait; a live frame has expired then, and is dropped
			return
		}
		w.env.Log.Error("result not stored: the frame is given back", "frame", result.ID().String(), "error", err)
		bus.GiveBack(t.msg, t.meta.NumDelivered)
		return
	}
	hop := result.Ledger[len(result.Ledger)-1]
	w.observe("wait", hop.Wait)
	w.observe("publish", time.Since(storing))
	w.load.answered(hop.Wait)
	done := flow.Done{
		Version: result.Version, Session: result.Session, Seq: result.Seq, Wait: hop.Wait, Work: hop.Work,
		Outcome: outcome(result), Reason: result.Dropped, Queue: t.queue(),
	}
	if err := w.env.Bus.PublishDone(w.cfg.Group, result.Source, done); err != nil {
		w.env.Log.Debug("done not sent", "error", err) // in live mode the credit returns by itself, later
	}
	_ = t.msg.Ack() // unheard the frame is answered again, which the fuser takes as a duplicate
	t.try.end(w, t, true)
}

func outcome(result *flow.Result) flow.Outcome {
	switch {
	case result.Error != "":
		return flow.OutcomeError
	case result.Dropped != "":
		return flow.OutcomeDropped
	}
	return flow.OutcomeComplete
}

// queue is how many live frames waited for the group when it took this one, this one included; 0 of a lossless one.
func (t *task) queue() uint64 {
	if !t.live() {
		return 0
	}
	return t.meta.NumPending + 1
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
		result.Class, result.Depth = flow.ClassPicture, nil
	case len(result.Detections) > 0 || len(result.Answers) > 0 || len(result.Ledger) > 1:
		if result.Error == "" {
			result.Error = fmt.Sprintf("an answer of %d detections does not fit into a message", len(result.Detections))
			result.Class = flow.ClassPicture
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
