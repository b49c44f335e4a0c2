package bus

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
)

// OutcomeHeader carries a scene's outcome, so that accounts need not read the scene.
const OutcomeHeader = "Spatialflow-Outcome"

// headerRoom is what the headers of a message may take beside it, in bytes.
const headerRoom = 64 << 10

// FrameRoom is what a frame may take of a message beside its picture, in bytes.
const FrameRoom = 8 << 10

// PublishFrame stores an admitted frame for the groups of its plan; the same frame published again is stored once.
// [ErrFull] is returned when the guard of the stream is reached, [ErrTooLarge] when the frame exceeds [Bus.MaxMessage],
// [flow.ErrMessage] when its plan is not made of groups that are on, or, of a copy, of none that is: the server would take it
// for nobody.
// Any other error may or may not have stored it: publish it again.
func (b *Bus) PublishFrame(ctx context.Context, groups flow.Groups, frame *flow.Frame) error {
	_, err := b.StoreFrame(ctx, groups, frame)
	return err
}

// StoreFrame is [Bus.PublishFrame], and returns the server's ack.
func (b *Bus) StoreFrame(ctx context.Context, groups flow.Groups, frame *flow.Frame) (*jetstream.PubAck, error) {
	takers := 0
	for _, name := range frame.Plan {
		if g, _ := groups.Find(name); g.Name != "" && !g.Off {
			takers++
		}
	}
	if takers == 0 || takers < len(frame.Plan) && frame.Copy == 0 { // a copy keeps its first plan
		return nil, fmt.Errorf("publish frame %s: %w: %d groups of its plan %q are on", frame.ID(), flow.ErrMessage, takers, frame.Plan)
	}
	subject := groups.FrameSubject(frame.Mode, frame.Plan, frame.Source)
	ack, err := publish(ctx, b, subject, frame, jetstream.WithMsgID(frame.MessageID()))
	if err != nil {
		return nil, fmt.Errorf("publish frame %s: %w", frame.ID(), err)
	}
	return ack, nil
}

// PublishResult stores a group's answer; errors are those of [Bus.PublishFrame].
func (b *Bus) PublishResult(ctx context.Context, result *flow.Result) error {
	subject := flow.ResultSubject(result.Group, result.Mode, result.Place(), result.Source)
	if _, err := publish(ctx, b, subject, result, jetstream.WithMsgID(result.MessageID())); err != nil {
		return fmt.Errorf("publish result of %s for %s: %w", result.Group, result.ID(), err)
	}
	return nil
}

// PublishScene stores a scene; a lossless frame gets exactly one: [ErrStored] is returned for a second.
func (b *Bus) PublishScene(ctx context.Context, scene *flow.Scene) error {
	var options []jetstream.PublishOpt
	if scene.Mode == flow.ModeLossless {
		options = append(options, jetstream.WithExpectLastSequencePerSubject(0))
	}
	if _, err := publish(ctx, b, flow.SceneSubject(scene.Mode, scene.Place(), scene.ID()), scene, options...); err != nil {
		return fmt.Errorf("publish scene %s: %w", scene.ID(), err)
	}
	return nil
}

func publish[M flow.Message](ctx context.Context, b *Bus, subject string, message M, options ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	buffer := b.buffers.Get().(*[]byte)
	defer b.buffers.Put(buffer)
	data, err := flow.Encode(*buffer, message)
	if err != nil {
		return nil, err
	}
	*buffer = data
	if most := b.MaxMessage(); len(data) > most {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(data), most)
	}
	if err := flow.Scan(data); err != nil { // what nobody would read is not stored
		return nil, fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	msg := &nats.Msg{Subject: b.Subject(subject), Data: data, Header: nats.Header{}}
	if scene, ok := any(message).(*flow.Scene); ok {
		msg.Header.Set(OutcomeHeader, string(scene.Outcome))
	}
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, longestTry)
		defer cancel()
	}
	ack, err := b.js.PublishMsg(ctx, msg, append(options, jetstream.WithRetryAttempts(0))...)
	return ack, publishError(err)
}

// MaxMessage is how many bytes a message may take: what the streams take, or less when the server's max_payload is smaller.
func (b *Bus) MaxMessage() int { return min(MaxMessage, int(b.conn.MaxPayload())-headerRoom) }

// PublishDone tells, on core NATS, that a frame is finished at a stage.
func (b *Bus) PublishDone(stage, source string, done flow.Done) error {
	data, err := flow.Encode(nil, &done)
	if err != nil {
		return err
	}
	if err := b.conn.Publish(b.Subject(flow.DoneSubject(stage, source)), data); err != nil {
		return fmt.Errorf("publish done of %s: %w", stage, err)
	}
	return nil
}

// SubscribeDone calls done for every frame of source that a stage, or, when stage is *, any stage has finished; what
// is no done message of a version that this program knows is ignored.
func (b *Bus) SubscribeDone(stage, source string, done func(stage string, d flow.Done)) (*nats.Subscription, error) {
	return b.Subscribe(flow.DoneSubject(stage, source), func(msg *nats.Msg) {
		var d flow.Done
		if flow.Decode(msg.Data, &d) == nil && d.Version <= flow.Wire {
			done(strings.Split(msg.Subject, ".")[1], d)
		}
	})
}

// PublishAlive tells, on core NATS, how a service is. [ErrTooLarge] is returned when it exceeds
// [flow.MaxAliveBytes], which nobody would read.
func (b *Bus) PublishAlive(alive flow.Alive) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // no page is made of it, and a < would take six bytes
	if err := encoder.Encode(alive); err != nil {
		return fmt.Errorf("encode alive: %w", err)
	}
	data := text.Bytes()
	if len(data) > flow.MaxAliveBytes {
		return fmt.Errorf("publish alive: %w: %d bytes, at most %d", ErrTooLarge, len(data), flow.MaxAliveBytes)
	}
	if err := b.conn.Publish(b.Subject(flow.AliveSubject(alive.Stage, alive.Instance)), data); err != nil {
		return fmt.Errorf("publish alive: %w", err)
	}
	return nil
}

// IsInbox says whether a reply subject is one that is answered. Whoever publishes names it, and with any other one would have this program
// publish where only it may.
func IsInbox(reply string) bool {
	return strings.HasPrefix(reply, "_INBOX") || strings.HasPrefix(reply, "_R_.") // of another account
}
