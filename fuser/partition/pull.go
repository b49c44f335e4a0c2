package partition

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/fuser/delivery"
)

// pull hands the results of one group in one mode over until ctx ends, or the group is retired and its stream gone. What is no
// result is terminated and counted; what this program does not understand is given back.
func (p *partition) pull(ctx context.Context, group string, mode flow.Mode) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	open := func(ctx context.Context) (bus.Messages, error) {
		messages, err := p.Env.Bus.TakeResults(ctx, group, mode, p.number, p.Limits.Prefetch)
		if of, known := p.Deployed.Groups().Find(group); errors.Is(err, bus.ErrNotProvisioned) && (!known || of.Retired) {
			p.Env.Log.Debug("results are not taken any more: the group is retired", "group", group, "mode", mode, "partition", p.number)
			end()
		}
		return messages, err
	}
	return bus.Follow(ctx, p.Env.Log, open, func(msg jetstream.Msg) {
		d, err := delivery.Decode(msg, group, mode, p.number)
		if err != nil {
			p.refuse(msg, group, err)
			return
		}
		if d.Again {
			p.Metrics.Redelivered.WithLabelValues(group).Inc()
		}
		select {
		case p.results <- d:
		case <-ctx.Done():
			d.GiveBack(0)
		}
	})
}

func (p *partition) refuse(msg jetstream.Msg, group string, err error) {
	if meta, e := msg.Metadata(); e == nil && errors.Is(err, flow.ErrNewer) {
		p.Metrics.Refused.WithLabelValues("results", "newer").Inc()
		if p.Newer.GiveBack(msg, meta.NumDelivered, err) {
			p.Env.Log.Warn("results wait for a newer fuser", "group", group, "error", err)
		}
		return
	}
	p.Metrics.Refused.WithLabelValues("results", "malformed").Inc()
	p.Env.Log.Warn("result refused", "group", group, "error", err)
	_ = msg.TermWithReason("no result: " + err.Error()) // unanswered it would come again
}
