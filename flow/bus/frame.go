package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
)

// HasFrame says whether a frame is still in its stream, where sequence is what its ack said: some group of its plan has not
// acked it. It is asked at the stream's leader.
func (b *Bus) HasFrame(ctx context.Context, frame *flow.Frame, sequence uint64) (bool, error) {
	stream, err := b.stream(ctx, framesStream(frame.Mode))
	if err != nil {
		return false, err
	}
	msg, err := stream.GetMsg(ctx, sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look up frame %s: %w", frame.ID(), err)
	}
	return msg.Header.Get(nats.MsgIdHdr) == frame.MessageID(), nil // a stream that was made anew counts anew
}

// AckFloor is the sequence in the stream of frames up to which a group has acked all that it was to take; what it has in hand, or
// has not been given yet, is beyond. It is 0 while the group has no consumer.
func (b *Bus) AckFloor(ctx context.Context, group string, mode flow.Mode) (uint64, error) {
	consumer, err := b.consumer(ctx, framesStream(mode), group)
	if errors.Is(err, ErrNotProvisioned) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return consumer.CachedInfo().AckFloor.Stream, nil // as it was answered just now
}

// StoredResults are the frames of a session whose results of one group wait in their stream for the fuser, by seq. It is
// asked at the stream's leader.
func (b *Bus) StoredResults(ctx context.Context, group string, mode flow.Mode, partition int, source, session string) (map[uint64]bool, error) {
	stream, err := b.stream(ctx, resultsStream(group, mode))
	if err != nil {
		return nil, err
	}
	found, subject := map[uint64]bool{}, b.Subject(flow.ResultSubject(group, mode, partition, source))
	for next := uint64(1); ; {
		msg, err := stream.GetMsg(ctx, next, jetstream.WithGetMsgSubject(subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return found, nil
		}
		if err != nil {
			return nil, fmt.Errorf("look up results of %s for %s: %w", group, source, err)
		}
		if id, ok := resultFrame(msg.Header.Get(nats.MsgIdHdr)); ok && id.Source == source && id.Session == session {
			found[id.Seq] = true
		}
		next = msg.Sequence + 1
	}
}

// resultFrame is the frame that a result with this Nats-Msg-Id answers ([flow.Result.MessageID]): source/session/seq and what
// follows.
func resultFrame(messageID string) (flow.FrameID, bool) {
	parts := strings.SplitN(messageID, "/", 4)
	if len(parts) < 4 {
		return flow.FrameID{}, false
	}
	id, err := flow.ParseFrameID(strings.Join(parts[:3], "/"))
	return id, err == nil
}
