package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
)

const (
	retryWait    = 100 * time.Millisecond
	retryWaitMax = 2 * time.Second
	lookUpWithin = 5 * time.Second
)

// everySource asks learn for all sources.
const everySource = ""

// refreshAll asks for the newest stored scene of every source that has one.
func (g *gateway) refreshAll() { g.refresh(everySource) }

// refresh asks for the newest stored scene of a source. When too much is asked, all are looked up.
func (g *gateway) refresh(source string) {
	select {
	case g.stale <- source:
	default:
		select {
		case g.allStale <- struct{}{}:
		default: // asked already
		}
	}
}

// learn looks up the newest stored scenes that are asked for until ctx ends.
func (g *gateway) learn(ctx context.Context) error {
	for {
		source := everySource
		select {
		case <-ctx.Done():
			return nil
		case source = <-g.stale:
		case <-g.allStale:
		}
		wait := retryWait
		for {
			err := g.lookUp(ctx, source)
			if err == nil || ctx.Err() != nil {
				break
			}
			if wait == retryWait {
				g.env.Log.Warn("stored scenes can't be read yet", "error", err)
			}
			clock.Sleep(ctx, wait)
			wait = min(2*wait, retryWaitMax)
		}
	}
}

// lookUp gives the hub the newest stored scene of a source, or of each.
func (g *gateway) lookUp(ctx context.Context, source string) error {
	ctx, cancel := context.WithTimeout(ctx, lookUpWithin)
	defer cancel()
	if source != everySource {
		return g.lookUpOne(ctx, source)
	}
	runs, err := g.env.Bus.Runs(ctx)
	if err != nil {
		return fmt.Errorf("list stored sources: %w", err)
	}
	for source := range runs {
		if err := g.lookUpOne(ctx, source); err != nil {
			return err
		}
	}
	return nil
}

func (g *gateway) lookUpOne(ctx context.Context, source string) error {
	scene, err := g.env.Bus.LastScene(ctx, source, "")
	switch {
	case err == nil:
		g.hub.addScene(scene, true)
		return nil
	case errors.Is(err, bus.ErrNotFound):
		return g.lookUpLive(ctx, source)
	case errors.Is(err, flow.ErrMessage), errors.Is(err, flow.ErrFrameID), errors.Is(err, depthmap.ErrMap):
		g.metrics.refuse(doorScenes, reasonMalformed)
		return nil
	default:
		return fmt.Errorf("look up the newest scene of %s: %w", source, err)
	}
}

// lookUpLive is for a source without lossless scenes.
func (g *gateway) lookUpLive(ctx context.Context, source string) error {
	scene, err := g.env.Bus.LastLiveScene(ctx, source)
	if err == nil {
		g.hub.addScene(scene, true)
	}
	if errors.Is(err, bus.ErrNotFound) {
		return nil
	}
	return err
}
