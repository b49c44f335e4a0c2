package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
)

// Groups reads the groups entry. [ErrNotProvisioned] is returned when there is none yet.
func (b *Bus) Groups(ctx context.Context) (flow.Groups, error) {
	kv, err := b.bucket(ctx, Bucket)
	if err != nil {
		return nil, err
	}
	entry, err := kv.Get(ctx, groupsKey)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, fmt.Errorf("%w: no groups entry", ErrNotProvisioned)
	}
	if err != nil {
		return nil, fmt.Errorf("read groups entry: %w", err)
	}
	return flow.ParseGroups(entry.Value())
}
