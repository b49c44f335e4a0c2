// Package store stores scenes: it makes those that are too large smaller, and tells why one is not stored yet.
package store

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/fuser/join"
)

// Publisher publishes a scene once; errors are those of [bus.Bus.PublishScene].
type Publisher interface {
	PublishScene(ctx context.Context, scene *flow.Scene) error
}

const (
	tellEvery    = 10 * time.Second // of a scene that is not stored yet
	hopelessWait = 5 * time.Second  // before a scene is tried again although that seems to change nothing
)

// Scene stores one scene as [bus.Store] does. One that is too large loses its depth map, then what was found, and is an
// error scene at last; its outcome says error. A try that is under way when ctx ends is let end in its own time.
func Scene(ctx context.Context, to Publisher, scene *flow.Scene, log *slog.Logger) error {
	var told time.Time
	begin, step := time.Now(), 0
	return bus.Store(ctx, bus.Policy{
		Shrink: func() bool { step++; return shrink(scene, step) },
		Waiting: func(err error) {
			if now := time.Now(); now.Sub(begin) > time.Second && now.Sub(told) > tellEvery {
				log.Warn("scene not stored yet", "frame", scene.ID().String(), "error", err)
				told = now
			}
		},
	}, func(ctx context.Context) error {
		within, _ := ctx.Deadline()
		ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), within)
		defer cancel()
		return to.PublishScene(ctx, scene)
	})
}

// EverTrying is [Scene], and does not end before the scene is stored or ctx ends: a lossless frame has a scene, whatever
// has to be mended for that. already says that it was stored before.
func EverTrying(ctx context.Context, to Publisher, scene *flow.Scene, log *slog.Logger) (already bool, err error) {
	for {
		err := Scene(ctx, to, scene, log)
		switch {
		case err == nil || errors.Is(err, bus.ErrStored):
			return err != nil, nil
		case ctx.Err() != nil:
			return false, err
		}
		log.Error("scene can't be stored", "frame", scene.ID().String(), "error", err)
		if !clock.Sleep(ctx, hopelessWait) {
			return false, err
		}
	}
}

// shrink makes a scene smaller; false when it is as small as it gets.
func shrink(scene *flow.Scene, step int) bool {
	scene.Outcome = flow.OutcomeError
	if scene.Errors == nil {
		scene.Errors = map[string]string{}
	}
	scene.Errors[join.Stage] = "the scene is too large"
	if step == 1 && scene.Depth != nil {
		scene.Depth = nil
		return true
	}
	if step <= 2 && len(scene.Detections)+len(scene.Answers) > 0 {
		scene.Depth, scene.Detections, scene.Answers = nil, []flow.Detection{}, nil
		return true
	}
	if step <= 3 {
		scene.Depth, scene.Detections, scene.Answers, scene.Held = nil, []flow.Detection{}, nil, nil
		scene.Errors, scene.Failures = map[string]string{join.Stage: scene.Errors[join.Stage]}, nil
		scene.Ledger = scene.Ledger[max(0, len(scene.Ledger)-1):]
		return true
	}
	return false
}
