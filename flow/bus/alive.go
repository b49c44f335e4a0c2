package bus

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/spatial-flow/spatial-flow/flow"
)

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
