package workers

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow/bus"
)

// drainWait bounds the wait for what is on its way to a slot that stops.
const drainWait = time.Second

// frames is an iterator that leaves nothing in hand when ctx ends: it asks for no more, and what was on its way is
// given back, so that another worker has it at once and not after AckWait.
type frames struct {
	bus.Messages
	ctx context.Context
}

func (f frames) Next(options ...jetstream.NextOpt) (jetstream.Msg, error) {
	if err := f.ctx.Err(); err != nil {
		return nil, err
	}
	return f.Messages.Next(options...)
}

func (f frames) Stop() {
	f.Drain()
	for {
		msg, err := f.Messages.Next(jetstream.NextMaxWait(drainWait))
		if err != nil {
			break
		}
		_ = msg.Nak() // unheard it comes again after AckWait
	}
	f.Messages.Stop()
}
