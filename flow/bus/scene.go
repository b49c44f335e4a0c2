package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
)

// SceneOutcome looks a lossless scene up at the stream's leader. [ErrNotFound] is returned when it is not stored, or not any
// more.
func (b *Bus) SceneOutcome(ctx context.Context, partition int, id flow.FrameID) (flow.Outcome, error) {
	msg, err := b.lastScene(ctx, flow.ModeLossless, flow.SceneSubject(flow.ModeLossless, partition, id))
	if err != nil {
		return "", err
	}
	return flow.Outcome(msg.Header.Get(OutcomeHeader)), nil
}

// LastScene is the newest stored lossless scene of a source, of one session unless session is empty.
// [ErrNotFound] is returned when there is none (any more).
func (b *Bus) LastScene(ctx context.Context, source, session string) (*flow.Scene, error) {
	return b.newestScene(ctx, flow.ModeLossless, source, flow.SceneFilter(flow.AnyPartition, source, session))
}

// LastLiveScene is the newest stored live scene of a source, which may be 30 s old.
// [ErrNotFound] is returned when there is none (any more).
func (b *Bus) LastLiveScene(ctx context.Context, source string) (*flow.Scene, error) {
	return b.newestScene(ctx, flow.ModeLive, source, flow.SceneSubject(flow.ModeLive, flow.AnyPartition, flow.FrameID{Source: source}))
}

func (b *Bus) newestScene(ctx context.Context, mode flow.Mode, source, subject string) (*flow.Scene, error) {
	msg, err := b.lastScene(ctx, mode, subject)
	if err != nil {
		return nil, err
	}
	scene := new(flow.Scene)
	if err := flow.Decode(msg.Data, scene); err != nil {
		return nil, fmt.Errorf("read last scene of %s: %w", source, err)
	}
	return scene, scene.Validate()
}

func (b *Bus) lastScene(ctx context.Context, mode flow.Mode, subject string) (*jetstream.RawStreamMsg, error) {
	stream, err := b.stream(ctx, scenesStream(mode))
	if err != nil {
		return nil, err
	}
	msg, err := stream.GetLastMsgForSubject(ctx, b.Subject(subject))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, fmt.Errorf("scene %s: %w", subject, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("look up scene %s: %w", subject, err)
	}
	return msg, nil
}

// ReadScenes opens an ordered reader over the stored lossless scenes of all sources, from the oldest on.
func (b *Bus) ReadScenes(ctx context.Context) (Messages, error) {
	stream, err := b.stream(ctx, scenesStream(flow.ModeLossless))
	if err != nil {
		return nil, err
	}
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		return nil, fmt.Errorf("read scenes: %w", err)
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(32))
	if err != nil {
		return nil, fmt.Errorf("read scenes: %w", err)
	}
	return messages, nil
}
