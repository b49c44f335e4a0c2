// Package partition owns partitions of the results, by leases: each has one owner, which takes its results and has them
// joined.
package partition

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/fuser/camera"
	"github.com/spatial-flow/spatial-flow/fuser/delivery"
	"github.com/spatial-flow/spatial-flow/fuser/join"
	"github.com/spatial-flow/spatial-flow/fuser/metrics"
	"github.com/spatial-flow/spatial-flow/fuser/session"
)

const holdEvery = time.Second // InProgress of held results; AckWait is 3 s

// partition is one that is owned: the sessions and cameras of its sources. One goroutine runs it, for as long as its
// owner has the lease.
type partition struct {
	cameras  *camera.Cameras
	sessions *session.Sessions
	env      service.Env
	metrics  metrics.Metrics
	prefetch int
}

func newPartition(limits Limits, leftOut []string, b session.Bus, env service.Env, m metrics.Metrics) *partition {
	p := &partition{env: env, metrics: m, prefetch: limits.Prefetch}
	p.cameras = camera.New(env, m, limits.Sessions, limits.Bytes, limits.HeldMax)
	p.sessions = session.New(b, env.Log, m, join.Limits{Sessions: limits.Sessions, Bytes: limits.Bytes}, leftOut, p.hold)
	return p
}

// pull hands the results of one group in one mode over until ctx ends. What is no result is terminated and counted.
func (p *partition) pull(ctx context.Context, group string, mode flow.Mode, number int, out chan<- delivery.Delivery) error {
	open := func(ctx context.Context) (bus.Messages, error) {
		return p.env.Bus.TakeResults(ctx, group, mode, number, p.prefetch)
	}
	return bus.Follow(ctx, p.env.Log, open, func(msg jetstream.Msg) {
		result := new(flow.Result)
		err := flow.Decode(msg.Data(), result)
		if err == nil {
			err = result.Validate()
		}
		if err == nil && (result.Group != group || result.Mode != mode || result.Place() != number) {
			err = fmt.Errorf("%w: group %s, mode %s, source %s came as a %s result of group %s in partition %d",
				flow.ErrMessage, result.Group, result.Mode, result.Source, mode, group, number)
		}
		meta, metaErr := msg.Metadata()
		if err = errors.Join(err, metaErr); err != nil {
			p.metrics.Refused.WithLabelValues("results", "malformed").Inc()
			p.env.Log.Warn("result refused", "group", group, "error", err)
			_ = msg.TermWithReason("no result: " + err.Error()) // unanswered it would come again
			return
		}
		if meta.NumDelivered > 1 {
			p.metrics.Redelivered.WithLabelValues(group).Inc()
		}
		select {
		case out <- delivery.Delivery{Result: result, Msg: msg, Sequence: meta.Sequence.Stream, Stored: meta.Timestamp, Again: meta.NumDelivered > 1}:
		case <-ctx.Done():
			_ = msg.Nak() // a successor gets it now
		}
	})
}

// run joins until ctx ends, then gives back what it holds and writes the positions.
func (p *partition) run(ctx context.Context, in <-chan delivery.Delivery) error {
	ticker := time.NewTicker(holdEvery)
	defer ticker.Stop()
	deadline := time.NewTimer(time.Hour)
	defer deadline.Stop()
	defer p.stop(context.WithoutCancel(ctx))
	for {
		select {
		case <-ctx.Done():
			return nil
		case t := <-in:
			if t.Result.Mode == flow.ModeLive {
				p.cameras.Add(ctx, t)
				break
			}
			p.sessions.Add(ctx, t)
		case <-deadline.C:
		case <-ticker.C:
			p.hold()
			p.cameras.Tidy(time.Now())
			p.sessions.WritePositions(ctx)
		}
		if wake := p.cameras.GiveOut(ctx); !wake.IsZero() {
			deadline.Reset(time.Until(wake))
		}
	}
}

func (p *partition) stop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, stoppedWithin)
	defer cancel()
	for msg := range p.sessions.Held() {
		_ = msg.Nak() // a successor gets it now; without this, after AckWait
	}
	for _, msg := range p.cameras.Held() {
		_ = msg.Nak()
	}
	p.sessions.WritePositions(ctx)
}

// hold tells the server that the held results are still worked on.
func (p *partition) hold() {
	for msg := range p.sessions.Held() {
		_ = msg.InProgress() // unheard it is delivered again, which the joiner takes
	}
	for _, msg := range p.cameras.Held() {
		_ = msg.InProgress()
	}
}
