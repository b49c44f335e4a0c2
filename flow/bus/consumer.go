package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/clock"
)

// Messages is an iterator over a consumer's messages; Next blocks, Stop ends it.
type Messages = jetstream.MessagesContext

// TakeFrames opens an iterator over the frames of a group. At most prefetch of them are on their way at once:
// what a killed worker held comes back after AckWait (3 s).
func (b *Bus) TakeFrames(ctx context.Context, group string, mode flow.Mode, prefetch int) (Messages, error) {
	return b.take(ctx, framesStream(mode), group, jetstream.PullMaxMessages(prefetch))
}

// resultBytes bounds, beside their number, the results that one request brings: a few of the largest.
const resultBytes = 8 << 20

// TakeResults opens an iterator over the results of a group in one partition. At most prefetch of them, and twice 8 MiB,
// are on their way at once.
func (b *Bus) TakeResults(ctx context.Context, group string, mode flow.Mode, partition, prefetch int) (Messages, error) {
	return b.take(ctx, resultsStream(group, mode), fuseConsumer(partition), jetstream.PullMaxMessagesWithBytesLimit(prefetch, resultBytes))
}

func (b *Bus) take(ctx context.Context, stream, consumer string, most jetstream.PullMessagesOpt) (Messages, error) {
	c, err := b.js.Consumer(ctx, stream, consumer)
	if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("%w: consumer %s of stream %s", ErrNotProvisioned, consumer, stream)
	}
	if err != nil {
		return nil, fmt.Errorf("look up consumer %s of stream %s: %w", consumer, stream, err)
	}
	// A lost pull request is repeated after two heartbeats: 1 s.
	messages, err := c.Messages(most, jetstream.PullExpiry(2*time.Second),
		jetstream.PullHeartbeat(500*time.Millisecond), jetstream.WithMessagesErrOnMissingHeartbeat(false))
	if err != nil {
		return nil, fmt.Errorf("take from consumer %s of stream %s: %w", consumer, stream, err)
	}
	return messages, nil
}

const (
	followWait    = 20 * time.Millisecond
	followWaitMax = time.Second
	giveBackWait  = time.Second // for what is on its way when taking ends
)

// Follow opens an iterator and calls handle for each of its messages until ctx ends, then returns nil. While the
// consumer is not there, or the server is away, it says so once and tries again.
func Follow(ctx context.Context, log *slog.Logger, open func(context.Context) (Messages, error), handle func(jetstream.Msg)) error {
	wait, told := followWait, false
	for ctx.Err() == nil {
		err := follow(ctx, open, func(msg jetstream.Msg) {
			wait, told = followWait, false
			handle(msg)
		})
		if ctx.Err() != nil {
			break
		}
		if !told && (errors.Is(err, ErrNotProvisioned) || wait > 100*time.Millisecond) {
			log.Warn("waiting for nats", "error", err)
			told = true
		}
		clock.Sleep(ctx, wait)
		wait = min(2*wait, followWaitMax)
	}
	return nil
}

func follow(ctx context.Context, open func(context.Context) (Messages, error), handle func(jetstream.Msg)) error {
	messages, err := open(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if ctx.Err() != nil {
			giveBack(messages)
		}
		messages.Stop()
	}()
	for ctx.Err() == nil {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		handle(msg)
	}
	return ctx.Err()
}

// giveBack leaves nothing in hand: it asks for no more, and what was on its way goes to another
// taker at once and not after AckWait.
func giveBack(messages Messages) {
	messages.Drain()
	for {
		msg, err := messages.Next(jetstream.NextMaxWait(giveBackWait))
		if err != nil {
			break
		}
		_ = msg.Nak() // unheard it comes again after AckWait
	}
}
