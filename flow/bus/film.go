package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
)

// Film is what was noted, with [Bus.SetFilm], of the film of a session. [ErrNotFound] is returned when nothing was.
func (b *Bus) Film(ctx context.Context, source, session string) (mark string, err error) {
	kv, err := b.bucket(ctx, PositionsBucket)
	if err != nil {
		return "", err
	}
	entry, err := kv.Get(ctx, flow.FilmKey(source, session))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return "", fmt.Errorf("film of %s/%s: %w", source, session, ErrNotFound)
	}
	if err != nil {
		return "", fmt.Errorf("read the film of %s/%s: %w", source, session, err)
	}
	return string(entry.Value()), nil
}

// SetFilm notes what the film of a session is known by.
func (b *Bus) SetFilm(ctx context.Context, source, session, mark string) error {
	kv, err := b.bucket(ctx, PositionsBucket)
	if err != nil {
		return err
	}
	if _, err := kv.PutString(ctx, flow.FilmKey(source, session), mark); err != nil {
		return fmt.Errorf("note the film of %s/%s: %w", source, session, err)
	}
	return nil
}
