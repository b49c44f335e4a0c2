package bus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/spatial-flow/spatial-flow/flow"
)

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
