package bus

import (
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
