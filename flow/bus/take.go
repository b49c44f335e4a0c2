package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
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

// SubscribeDone calls done for every frame of source that a stage, or, when stage is *, any stage has finished; what
// is no done message of a version that this program knows is ignored.
func (b *Bus) SubscribeDone(stage, source string, done func(stage string, d flow.Done)) (*nats.Subscription, error) {
	sub, err := b.conn.Subscribe(flow.DoneSubject(stage, source), func(msg *nats.Msg) {
		var d flow.Done
		if flow.Decode(msg.Data, &d) == nil && d.Version <= flow.DoneVersion {
			done(strings.Split(msg.Subject, ".")[1], d)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe to done of %s: %w", stage, err)
	}
	return sub, nil
}

// SceneOutcome looks a lossless scene up at the stream's leader. [ErrNotFound] is returned when it is not stored.
func (b *Bus) SceneOutcome(ctx context.Context, id flow.FrameID) (flow.Outcome, error) {
	msg, err := b.lastScene(ctx, flow.ModeLossless, flow.SceneSubject(flow.ModeLossless, id))
	if err != nil {
		return "", err
	}
	return flow.Outcome(msg.Header.Get(OutcomeHeader)), nil
}

// LastScene is the newest stored lossless scene of a source, of one session unless session is empty.
// [ErrNotFound] is returned when there is none (any more).
func (b *Bus) LastScene(ctx context.Context, source, session string) (*flow.Scene, error) {
	return b.newestScene(ctx, flow.ModeLossless, source, flow.SceneFilter(source, session))
}

// LastLiveScene is the newest stored live scene of a source, which may be 30 s old.
// [ErrNotFound] is returned when there is none (any more).
func (b *Bus) LastLiveScene(ctx context.Context, source string) (*flow.Scene, error) {
	return b.newestScene(ctx, flow.ModeLive, source, flow.SceneSubject(flow.ModeLive, flow.FrameID{Source: source}))
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
	msg, err := stream.GetLastMsgForSubject(ctx, subject)
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

// Position is the seq of a run's last stored scene: what the KV entry says, or, if that is further, what is in
// SCENES. 0 is returned when nothing is stored. last is that scene when it is still kept, else nil.
func (b *Bus) Position(ctx context.Context, source, session string) (seq uint64, last *flow.Scene, err error) {
	kv, err := b.bucket(ctx, Bucket)
	if err != nil {
		return 0, nil, err
	}
	entry, err := kv.Get(ctx, flow.PositionKey(source, session))
	switch {
	case err == nil:
		if seq, err = strconv.ParseUint(string(entry.Value()), 10, 64); err != nil {
			return 0, nil, fmt.Errorf("position of %s/%s: %w", source, session, err)
		}
	case !errors.Is(err, jetstream.ErrKeyNotFound):
		return 0, nil, fmt.Errorf("read position of %s/%s: %w", source, session, err)
	}
	last, err = b.LastScene(ctx, source, session)
	switch {
	case errors.Is(err, ErrNotFound):
		return seq, nil, nil
	case err != nil:
		return 0, nil, err
	}
	return max(seq, last.Seq), last, nil
}

// SetPosition writes a run's position.
func (b *Bus) SetPosition(ctx context.Context, source, session string, seq uint64) error {
	kv, err := b.bucket(ctx, Bucket)
	if err != nil {
		return err
	}
	if _, err := kv.Put(ctx, flow.PositionKey(source, session), []byte(strconv.FormatUint(seq, 10))); err != nil {
		return fmt.Errorf("write position of %s/%s: %w", source, session, err)
	}
	return nil
}

// Runs lists the sources, each with its sessions, that have a position.
func (b *Bus) Runs(ctx context.Context) (map[string][]string, error) {
	kv, err := b.bucket(ctx, Bucket)
	if err != nil {
		return nil, err
	}
	keys, err := kv.ListKeysFiltered(ctx, flow.PositionKey("*", "*"))
	if err != nil {
		return nil, fmt.Errorf("list positions: %w", err)
	}
	runs := map[string][]string{}
	for key := range keys.Keys() {
		if source, session, ok := flow.ParsePositionKey(key); ok {
			runs[source] = append(runs[source], session)
		}
	}
	return runs, nil
}
