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

// StoredFrames visits the lossless frames of a source that are still in their stream, as they were stored, the oldest first, until
// visit returns false. It is asked at the stream's leader.
func (b *Bus) StoredFrames(ctx context.Context, groups flow.Groups, source string, visit func(id flow.FrameID, data []byte) bool) error {
	stream, err := b.stream(ctx, framesStream(flow.ModeLossless))
	if err != nil {
		return err
	}
	for _, filter := range groups.SourceFilters(flow.ModeLossless, source) {
		for next := uint64(1); ; {
			msg, err := stream.GetMsg(ctx, next, jetstream.WithGetMsgSubject(b.Subject(filter)))
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				break
			}
			if err != nil {
				return fmt.Errorf("look up frames of %s: %w", source, err)
			}
			next = msg.Sequence + 1
			if id, err := flow.ParseMessageID(msg.Header.Get(nats.MsgIdHdr)); err == nil && !visit(id, msg.Data) {
				return nil
			}
		}
	}
	return nil
}

// StoredResults are the frames of a session whose results of one group wait in their stream for the fuser, by seq. It is
// asked at the stream's leader.
func (b *Bus) StoredResults(ctx context.Context, group string, mode flow.Mode, partition int, source, session string) (map[uint64]bool, error) {
	stream, err := b.stream(ctx, resultsStream(group, mode))
	if err != nil {
		return nil, err
	}
	found := map[uint64]bool{}
	err = b.eachStored(ctx, stream, flow.ResultSubject(group, mode, partition, source), func(msg *jetstream.RawStreamMsg) {
		if id, ok := resultFrame(msg.Header.Get(nats.MsgIdHdr)); ok && id.Source == source && id.Session == session {
			found[id.Seq] = true
		}
	})
	if err != nil {
		return nil, fmt.Errorf("look up results of %s for %s: %w", group, source, err)
	}
	return found, nil
}

// StoredBefore says whether a lossless frame of a session that comes before seq, or a result of one, is still in its stream: its
// scene is still to come. It is asked at the streams' leaders.
func (b *Bus) StoredBefore(ctx context.Context, groups flow.Groups, partition int, id flow.FrameID) (stored bool, err error) {
	for _, group := range groups {
		results, err := b.StoredResults(ctx, group.Name, flow.ModeLossless, partition, id.Source, id.Session)
		if errors.Is(err, ErrNotProvisioned) && group.Retired {
			continue
		}
		if err != nil {
			return false, err
		}
		for seq := range results {
			stored = stored || seq < id.Seq
		}
	}
	if stored {
		return true, nil
	}
	stream, err := b.stream(ctx, framesStream(flow.ModeLossless))
	if err != nil {
		return false, err
	}
	for _, filter := range groups.SourceFilters(flow.ModeLossless, id.Source) {
		err := b.eachStored(ctx, stream, filter, func(msg *jetstream.RawStreamMsg) {
			frame, err := flow.ParseMessageID(msg.Header.Get(nats.MsgIdHdr))
			stored = stored || err == nil && frame.Source == id.Source && frame.Session == id.Session && frame.Seq < id.Seq
		})
		if err != nil {
			return false, fmt.Errorf("look up frames before %s: %w", id, err)
		}
	}
	return stored, nil
}

// eachStored visits the messages of a stream with a subject, from the oldest on.
func (b *Bus) eachStored(ctx context.Context, stream jetstream.Stream, subject string, visit func(*jetstream.RawStreamMsg)) error {
	for next := uint64(1); ; {
		msg, err := stream.GetMsg(ctx, next, jetstream.WithGetMsgSubject(b.Subject(subject)))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		visit(msg)
		next = msg.Sequence + 1
	}
}

// deleteWaiting deletes the lossless frames and results of a session. Those of a version that names messages in another way stay.
func (b *Bus) deleteWaiting(ctx context.Context, source, session string) error {
	d, _, err := b.Deployment(ctx)
	if err != nil {
		return err
	}
	remove := func(stream, subject string, of func(messageID string) (flow.FrameID, bool)) error {
		s, err := b.stream(ctx, stream)
		if err != nil {
			return err
		}
		var failed error
		err = b.eachStored(ctx, s, subject, func(msg *jetstream.RawStreamMsg) {
			if id, ok := of(msg.Header.Get(nats.MsgIdHdr)); !ok || id.Source != source || id.Session != session {
				return
			}
			if err := s.DeleteMsg(ctx, msg.Sequence); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
				failed = err
			}
		})
		return errors.Join(err, failed)
	}
	for _, filter := range d.Groups.SourceFilters(flow.ModeLossless, source) {
		err := remove(framesStream(flow.ModeLossless), filter, func(messageID string) (flow.FrameID, bool) {
			id, err := flow.ParseMessageID(messageID)
			return id, err == nil
		})
		if err != nil {
			return fmt.Errorf("delete its frames: %w", err)
		}
	}
	for _, group := range d.Groups {
		err := remove(resultsStream(group.Name, flow.ModeLossless), flow.ResultSubject(group.Name, flow.ModeLossless, flow.AnyPartition, source), resultFrame)
		if err != nil && !(group.Retired && errors.Is(err, ErrNotProvisioned)) {
			return fmt.Errorf("delete its results of %s: %w", group.Name, err)
		}
	}
	return nil
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
