// Package fuser joins the results of the worker groups into scenes, by frame ID and nothing else, and stores
// exactly one scene per frame, in frame order.
package fuser

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/spatial-flow/spatial-flow/flow"
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
	groups, err := partition.AwaitGroups(ctx, env)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	newest := partition.ReadGroups(env, groups)
	m := metrics.New(env.Metrics)
	tasks, ctx := errgroup.WithContext(ctx)
	share := partition.NewShare()
	for number := range flow.DefaultPartitions {
		o := partition.Owner{Number: number, Limits: cfg.limits(), Env: env, Metrics: m, Groups: newest, Share: share}
		tasks.Go(func() error { return o.Run(ctx) })
	}
	tasks.Go(func() error { return newest.Watch(ctx) })
	tasks.Go(func() error { return share.Watch(ctx, env) })
	tasks.Go(func() error {
		return service.Alive(ctx, env, func() flow.Alive {
			return flow.Alive{Stage: join.Stage, Parallel: share.Reserved(), Rate: float64(m.Scenes.Reset())}
		})
	})
	env.Health.SetReady(true)
	defer env.Health.SetReady(false)
	return tasks.Wait()
}
