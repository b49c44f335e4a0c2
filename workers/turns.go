package workers

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
)

// liveInARow is how many live frames a slot answers at most while a lossless one waits.
const liveInARow = 9

// offer is a frame that waits for the slot's turn. Its mode takes no other until the slot is done with it, and then what is left to
// do without the slot, if anything is.
type offer struct {
	msg  jetstream.Msg
	done chan func()
}

// take offers the slot the frames of one mode, one after the other, until ctx ends. While one waits the server is told
// that it is worked on.
func (w *worker) take(ctx context.Context, mode flow.Mode, out chan<- offer) error {
	return w.env.Bus.FollowFrames(ctx, w.env.Log, w.cfg.Group, mode, w.reached, func(msg jetstream.Msg) {
		release := hold(msg)
		defer release()
		o := offer{msg, make(chan func(), 1)}
		select {
		case out <- o:
			if rest := <-o.done; rest != nil {
				rest()
			}
		case <-ctx.Done():
			_ = msg.Nak() // another worker gets it now
		}
	})
}

// serve answers what is offered, live frames first, until ctx ends.
func (w *worker) serve(ctx context.Context, live, lossless <-chan offer) error {
	for row := 0; ; {
		o, mode, ok := nextOffer(ctx, live, lossless, row)
		if !ok {
			return nil
		}
		if row++; mode == flow.ModeLossless {
			row = 0
		}
		o.done <- w.handle(ctx, o.msg, mode)
	}
}

// nextOffer waits for a frame; row live ones were answered since the last lossless one. ok is false when ctx has ended.
func nextOffer(ctx context.Context, live, lossless <-chan offer, row int) (o offer, mode flow.Mode, ok bool) {
	first, firstMode := live, flow.ModeLive
	if row >= liveInARow {
		first, firstMode = lossless, flow.ModeLossless
	}
	select {
	case o = <-first:
		return o, firstMode, true
	default:
	}
	select {
	case <-ctx.Done():
		return offer{}, "", false
	case o = <-live:
		return o, flow.ModeLive, true
	case o = <-lossless:
		return o, flow.ModeLossless, true
	}
}
