package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
)

// Messages is an iterator over a consumer's messages; Next blocks, Stop ends it.
type Messages = jetstream.MessagesContext

// TakeFrames opens an iterator over the frames of a group. At most prefetch of them are on their way at once:
// what a killed worker held comes back after AckWait (3 s).
func (b *Bus) TakeFrames(ctx context.Context, group string, mode flow.Mode, prefetch int) (Messages, error) {
	return b.take(ctx, framesStream(mode), group, prefetch)
}

// TakeResults opens an iterator over the results of a group in one partition.
func (b *Bus) TakeResults(ctx context.Context, group string, mode flow.Mode, partition, prefetch int) (Messages, error) {
	return b.take(ctx, resultsStream(group, mode), fuseConsumer(partition), prefetch)
}

func (b *Bus) take(ctx context.Context, stream, consumer string, prefetch int) (Messages, error) {
	c, err := b.js.Consumer(ctx, stream, consumer)
	if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("%w: consumer %s of stream %s", ErrNotProvisioned, consumer, stream)
	}
	if err != nil {
		return nil, fmt.Errorf("look up consumer %s of stream %s: %w", consumer, stream, err)
	}
	// A lost pull request is repeated after two heartbeats: 1 s.
	messages, err := c.Messages(jetstream.PullMaxMessages(prefetch), jetstream.PullExpiry(2*time.Second),
		jetstream.PullHeartbeat(500*time.Millisecond), jetstream.WithMessagesErrOnMissingHeartbeat(false))
	if err != nil {
		return nil, fmt.Errorf("take from consumer %s of stream %s: %w", consumer, stream, err)
	}
	return messages, nil
}
