package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
)

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
