package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
)

// SceneSink is given every scene of a run once, each source's in frame order.
type SceneSink interface {
	Take(scene *flow.Scene) error
	Close() error
}

// sceneReader reads the stored scenes into a sink.
type sceneReader struct {
	sink SceneSink

	mu      sync.Mutex
	taken   map[session]uint64 // seq of the last scene that the sink has
	changed chan struct{}      // closed and replaced after every scene
	gap     error
}

type session struct{ source, name string }

// newSceneReader goes on after the scenes that the sink has taken before.
func newSceneReader(sink SceneSink, taken map[session]uint64) *sceneReader {
	return &sceneReader{sink: sink, taken: taken, changed: make(chan struct{})}
}

// run reads the scenes of the sessions that ours accepts, old ones first, then as they come, until ctx ends.
func (r *sceneReader) run(ctx context.Context, b *bus.Bus, log *slog.Logger, ours func(source, session string) bool) error {
	var failed error
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err := bus.Follow(ctx, log, b.ReadScenes, func(msg jetstream.Msg) {
		if failed != nil {
			return
		}
		if failed = r.take(msg, ours); failed != nil {
			cancel()
		}
	})
	return errors.Join(failed, err)
}

func (r *sceneReader) take(msg jetstream.Msg, ours func(source, session string) bool) error {
	scene := new(flow.Scene)
	if err := flow.Decode(msg.Data(), scene); err != nil {
		return fmt.Errorf("read stored scene: %w", err)
	}
	if !ours(scene.Source, scene.Session) {
		return nil
	}
	key := session{scene.Source, scene.Session}
	r.mu.Lock()
	last := r.taken[key]
	r.mu.Unlock()
	if scene.Seq <= last {
		return nil
	}
	if err := r.sink.Take(scene); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if scene.Seq != last+1 && r.gap == nil {
		r.gap = fmt.Errorf("%w: %s/%s: scenes %d to %d are no longer kept", ErrScenes, scene.Source, scene.Session, last+1, scene.Seq-1)
	}
	r.taken[key] = scene.Seq
	close(r.changed)
	r.changed = make(chan struct{})
	return nil
}

// wait returns when the sink has the scene of seq. [ErrScenes] is returned when it has not, and no scene came for so long.
func (r *sceneReader) wait(ctx context.Context, source, name string, seq uint64, within time.Duration) error {
	timeout := time.NewTimer(within)
	defer timeout.Stop()
	for {
		r.mu.Lock()
		last, changed := r.taken[session{source, name}], r.changed
		r.mu.Unlock()
		if last >= seq {
			return nil
		}
		select {
		case <-changed:
			timeout.Reset(within)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timeout.C:
			return fmt.Errorf("%w: %s/%s: read up to scene %d of %d", ErrScenes, source, name, last, seq)
		}
	}
}

// close closes the sink. [ErrScenes] is returned when scenes are missing in it.
func (r *sceneReader) close() error { return errors.Join(r.sink.Close(), r.gap) }
