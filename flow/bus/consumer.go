package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
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
	c, err := b.consumer(ctx, stream, consumer)
	if err != nil {
		return nil, err
	}
	messages, err := c.Messages(most, pullExpiry, pullHeartbeat)
	if err != nil {
		return nil, fmt.Errorf("take from consumer %s of stream %s: %w", consumer, stream, err)
	}
	return taken{messages, ctx, c}, nil
}

// taken are messages of a consumer that may be removed meanwhile. Until ctx ends it is asked about.
type taken struct {
	Messages
	ctx      context.Context
	consumer jetstream.Consumer
}

// Next returns [ErrNotProvisioned] when the consumer is gone: a request that met nobody is only told of by missing heartbeats. All
// other requests that are lost are made again.
func (t taken) Next(options ...jetstream.NextOpt) (jetstream.Msg, error) {
	for {
		msg, err := t.Messages.Next(options...)
		if !errors.Is(err, jetstream.ErrNoHeartbeat) {
			return msg, err
		}
		if isGone(t.ctx, t.consumer) {
			return nil, fmt.Errorf("%w: take messages: %w", ErrNotProvisioned, err)
		}
	}
}

// A lost pull request is noticed after two heartbeats: 1 s.
const (
	pullExpiry    = jetstream.PullExpiry(2 * time.Second)
	pullHeartbeat = jetstream.PullHeartbeat(500 * time.Millisecond)
)

func (b *Bus) consumer(ctx context.Context, stream, consumer string) (jetstream.Consumer, error) {
	c, err := b.js.Consumer(ctx, b.name(stream), consumer)
	if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("%w: consumer %s of stream %s", ErrNotProvisioned, consumer, stream)
	}
	if err != nil {
		return nil, fmt.Errorf("look up consumer %s of stream %s: %w", consumer, stream, err)
	}
	return c, nil
}

const (
	followWait    = 20 * time.Millisecond
	followWaitMax = time.Second
	giveBackWait  = time.Second // for what is on its way when taking ends
)

// Follow opens an iterator and calls handle for each of its messages until ctx ends, then returns nil. While the
// consumer is not there, or the server is away, it says so once and tries again.
func Follow(ctx context.Context, log *slog.Logger, open func(context.Context) (Messages, error), handle func(jetstream.Msg)) error {
	return again(ctx, log, func(came func()) error {
		return follow(ctx, open, func(msg jetstream.Msg) {
			came()
			handle(msg)
		})
	})
}

// FollowFrames calls handle for each frame of a group, one after the other, until ctx ends, then returns nil: the server is
// asked for the next frame when handle has returned, so that no frame waits here while another worker is free. What was on its
// way when ctx ended is given back. While the consumer is not there, or the server is away, it says so once and tries again;
// reached, unless nil, is called each time the consumer was found.
func (b *Bus) FollowFrames(ctx context.Context, log *slog.Logger, group string, mode flow.Mode, reached func(), handle func(jetstream.Msg)) error {
	return again(ctx, log, func(came func()) error {
		consumer, err := b.consumer(ctx, framesStream(mode), group)
		if err != nil {
			return err
		}
		if reached != nil {
			reached()
		}
		return handleFrames(ctx, consumer, func(msg jetstream.Msg) {
			came()
			handle(msg)
		})
	})
}

// again calls try, which lasts while all is well, until ctx ends.
func again(ctx context.Context, log *slog.Logger, try func(came func()) error) error {
	wait, told := followWait, false
	for ctx.Err() == nil {
		err := try(func() { wait, told = followWait, false })
		if ctx.Err() != nil {
			break
		}
		if !told && (errors.Is(err, ErrNotProvisioned) || wait > 100*time.Millisecond) {
			log.Warn("waiting for nats", "error", err)
			told = true
		}
		clock.Sleep(ctx, clock.Jitter(wait))
		wait = min(2*wait, followWaitMax)
	}
	return nil
}

// handleFrames returns when ctx has ended or the consumer is gone. An iterator ([Messages]) would have a channel of one here,
// which heartbeats share: a frame that comes right behind one would be lost until AckWait. What a handler is called for waits
// in a queue of the subscription instead, and the next frame is asked for when the handler has returned.
func handleFrames(ctx context.Context, consumer jetstream.Consumer, handle func(jetstream.Msg)) error {
	failed := make(chan error, 1)
	var handling sync.Mutex
	consuming, err := consumer.Consume(func(msg jetstream.Msg) {
		handling.Lock()
		defer handling.Unlock()
		if ctx.Err() != nil {
			_ = msg.Nak() // unheard it comes again after AckWait
			return
		}
		handle(msg)
	}, jetstream.PullMaxMessages(1), pullExpiry, pullHeartbeat, jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
		select {
		case failed <- err:
		default: // the first reason is told
		}
	}))
	if err != nil {
		return fmt.Errorf("take frames: %w", err)
	}
	closed := consuming.Closed()
	for ctx.Err() == nil {
		select {
		case <-closed:
			return fmt.Errorf("take frames: %w", cmp.Or(reason(failed), errSubscriptionEnded))
		case <-ctx.Done():
		case err := <-failed: // a request that found no consumer is told of as one that was not answered
			if isGone(ctx, consumer) {
				consuming.Stop()
				<-closed
				return fmt.Errorf("%w: take frames: %w", ErrNotProvisioned, err)
			}
		}
	}
	consuming.Drain()
	select {
	case <-closed: // what was on its way is given back
	case <-time.After(giveBackWait):
	}
	handling.Lock() // handle has returned
	defer handling.Unlock()
	return ctx.Err()
}

var errSubscriptionEnded = errors.New("the subscription ended")

func reason(failed <-chan error) error {
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// isGone says whether a consumer, or its stream, was removed.
func isGone(ctx context.Context, consumer jetstream.Consumer) bool {
	ctx, cancel := context.WithTimeout(ctx, longestTry)
	defer cancel()
	_, err := consumer.Info(ctx)
	return errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound)
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

const (
	laterLeast = time.Second // before a message that is given back for later comes again, at first
	laterMost  = 30 * time.Second
	newerFor   = time.Minute // that newer messages are spoken of, and between two lines of the log: longer than laterMost
)

// GiveBack has the server deliver a message again, to whoever takes from its consumer then: after about 1 s the first time that
// it came, and twice as long each further time, up to 30 s. Unheard it comes again after AckWait.
func GiveBack(msg jetstream.Msg, deliveries uint64) {
	wait := laterLeast << min(max(deliveries, 1)-1, 5)
	_ = msg.NakWithDelay(min(clock.Jitter(wait), laterMost))
}

// Newer gives back messages that this program is too old for, and remembers that there are some. Its zero value is ready. Its
// methods may be called from many goroutines.
type Newer struct {
	mu     sync.Mutex
	met    time.Time
	told   time.Time
	reason string
}

// GiveBack gives one more of them back, as [GiveBack] does; err is why it is too new. tell is whether the log is to speak of it:
// once a minute.
func (n *Newer) GiveBack(msg jetstream.Msg, deliveries uint64, err error) (tell bool) {
	GiveBack(msg, deliveries)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.met, n.reason = time.Now(), err.Error()
	if tell = n.told.IsZero() || n.met.Sub(n.told) >= newerFor; tell {
		n.told = n.met
	}
	return tell
}

// Note is what the program can't do now, and what mends it; empty: no such message came for a minute.
func (n *Newer) Note(program string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.met.IsZero() || time.Since(n.met) >= newerFor {
		return ""
	}
	return fmt.Sprintf("needs a newer %s: %s", program, n.reason)
}
