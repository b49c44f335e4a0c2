// Package fuser joins the results of the worker groups into scenes, by frame ID and nothing else, and stores
// exactly one scene per frame, in frame order.
package fuser

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/fuser/join"
	"github.com/spatial-flow/spatial-flow/fuser/metrics"
	"github.com/spatial-flow/spatial-flow/fuser/partition"
)

// Run joins results until ctx ends. Several fusers share the partitions: each has one owner, by a lease, because two
// fusers on the same partition would halve each other's frames.
func Run(ctx context.Context, cfg Config, env service.Env) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	deployed, err := env.Bus.Watch(ctx, env.Log)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	shared := &partition.Shared{
		Limits: cfg.limits(), Env: env, Store: env.Bus, Metrics: metrics.New(env.Metrics), Deployed: deployed,
		Newer: new(bus.Newer), Live: join.NewLags(), Lossless: join.NewLags(),
		Unpackers: join.NewUnpackers(),
	}
	share := partition.NewShare()
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error { shared.Run(ctx, share); return nil })
	tasks.Go(func() error { return share.Watch(ctx, env) })
	tasks.Go(func() error {
		return service.Alive(ctx, env, func() flow.Alive {
			return flow.Alive{
				Stage: join.Stage, Parallel: share.Reserved(), Rate: float64(shared.Metrics.Scenes.Reset()), Note: shared.Newer.Note("fuser"),
			}
		})
	})
	env.Health.SetReady(true)
	defer env.Health.SetReady(false)
	return tasks.Wait()
}
