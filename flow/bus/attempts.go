package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
)

// AttemptsBucket is the KV bucket of the tries of frames that nobody has finished. A record goes 10 minutes after it was written.
const AttemptsBucket = "attempts"

const (
	attemptsKept = 10 * time.Minute
	markKept     = time.Second
)

// Attempts are the tries of a frame that workers of the group have not finished, as [Bus.SetAttempts] noted: none is the zero value.
func (b *Bus) Attempts(ctx context.Context, group string, id flow.FrameID) (a flow.Attempts, err error) {
	kv, err := b.bucket(ctx, AttemptsBucket)
	if err != nil {
		return a, err
	}
	entry, err := kv.Get(ctx, flow.AttemptKey(group, id))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return a, nil
	}
	if err != nil {
		return a, fmt.Errorf("read the attempts of %s at %s: %w", group, id, err)
	}
	if err := json.Unmarshal(entry.Value(), &a); err != nil || a.Tries < 0 {
		return flow.Attempts{}, fmt.Errorf("read the attempts of %s at %s: %w: %.40q", group, id, flow.ErrMessage, entry.Value())
	}
	return a, nil
}

// SetAttempts notes them; no tries leave nothing behind.
func (b *Bus) SetAttempts(ctx context.Context, group string, id flow.FrameID, a flow.Attempts) error {
	key := flow.AttemptKey(group, id)
	if a.Tries == 0 { // a mark that goes by itself: to purge is for who may purge all of the bucket
		mark := &nats.Msg{Subject: b.Subject("$KV." + AttemptsBucket + "." + key), Header: nats.Header{kvOperation: {"DEL"}}}
		if _, err := b.js.PublishMsg(ctx, mark, jetstream.WithMsgTTL(markKept)); err != nil {
			return fmt.Errorf("forget the attempts of %s at %s: %w", group, id, err)
		}
		return nil
	}
	kv, err := b.bucket(ctx, AttemptsBucket)
	if err != nil {
		return err
	}
	data, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("note the attempts of %s at %s: %w", group, id, err)
	}
	if _, err := kv.Put(ctx, key, data); err != nil {
		return fmt.Errorf("note the attempts of %s at %s: %w", group, id, err)
	}
	return nil
}
