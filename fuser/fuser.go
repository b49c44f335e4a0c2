// Package fuser joins the results of the worker groups into scenes, by frame ID and nothing else, and stores
// exactly one scene per frame, in frame order.
package fuser

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/flow/telemetry"
)

// Config is the fuser's settings.
type Config struct {
	Sessions int           `default:"1024" help:"Sessions of sources that a partition knows at once."`
	MaxBytes int64         `default:"268435456" help:"Bytes of results that may wait in a partition for the rest of their frame."`
	Prefetch int           `default:"32" help:"Results of a group that may be on their way to a partition at once."`
	HeldMax  time.Duration `default:"2s" help:"Oldest depth map, by capture, that gives a live frame without one its nearness; 0: none does."`
}

// Validate returns an error that names the flag that is out of its range.
func (c Config) Validate() error {
	if c.Sessions < 1 || c.MaxBytes < 1 || c.Prefetch < 1 {
		return errors.New("fuser: --sessions, --max-bytes and --prefetch must be at least 1")
	}
	if c.HeldMax < 0 {
		return fmt.Errorf("fuser: --held-max %v is below 0", c.HeldMax)
	}
	return nil
}

const stoppedWithin = 2 * time.Second // for what is left to do after ctx ended

type metrics struct {
	seconds     *prometheus.HistogramVec // by step: join, publish
	refused     *prometheus.CounterVec   // by reason
	redelivered *prometheus.CounterVec   // by group
	late        *prometheus.CounterVec   // by group
	pushed      prometheus.Counter
}

func newMetrics(registry prometheus.Registerer) metrics {
	late := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "spatialflow_late_total", Help: "Results of live frames that came after their frame's scene.",
	}, []string{"group"})
	pushed := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "spatialflow_pushed_total", Help: "Live frames that went out before their deadline because there was no room.",
	})
	registry.MustRegister(late, pushed)
	return metrics{
		late: late, pushed: pushed,
		seconds: telemetry.NewStageSeconds(registry, stage),
		refused: telemetry.NewRefused(registry), redelivered: telemetry.NewRedeliveries(registry, stage),
	}
}

// Run joins results until ctx ends. Several fusers share the partitions: each has one owner, by a lease, because two
// fusers on the same partition would halve each other's frames.
func Run(ctx context.Context, cfg Config, env service.Env) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	groups, err := waitForGroups(ctx, env)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	newest := &newestGroups{env: env}
	newest.groups.Store(&groups)
	m := newMetrics(env.Metrics)
	tasks, ctx := errgroup.WithContext(ctx)
	scenes, share := new(rate), newShare()
	for number := range flow.Partitions {
		o := owner{number: number, cfg: cfg, env: env, metrics: m, groups: newest, share: share, scenes: scenes}
		tasks.Go(func() error { return o.run(ctx) })
	}
	tasks.Go(func() error { return newest.follow(ctx) })
	tasks.Go(func() error { return share.follow(ctx, env) })
	tasks.Go(func() error {
		return service.Alive(ctx, env, func() flow.Alive {
			return flow.Alive{Stage: stage, Parallel: share.owned(), Rate: float64(scenes.take())}
		})
	})
	env.Health.SetReady(true)
	defer env.Health.SetReady(false)
	return tasks.Wait()
}

// waitForGroups reads the groups entry, and waits for it.
func waitForGroups(ctx context.Context, env service.Env) (flow.Groups, error) {
	for told := false; ; told = true {
		groups, err := env.Bus.Groups(ctx)
		if err == nil || errors.Is(err, flow.ErrGroups) {
			return groups, err
		}
		if !told {
			env.Log.Warn("waiting for the groups entry", "error", err)
		}
		if !clock.Sleep(ctx, 200*time.Millisecond) {
			return nil, fmt.Errorf("wait for the groups entry: %w", context.Cause(ctx))
		}
	}
}

const groupsEvery = time.Second

// newestGroups is the groups entry as it was read last.
type newestGroups struct {
	env    service.Env
	groups atomic.Pointer[flow.Groups] // a new pointer when they are others
}

// follow reads the entry until ctx ends.
func (n *newestGroups) follow(ctx context.Context) error {
	for clock.Sleep(ctx, groupsEvery) {
		call, cancel := context.WithTimeout(ctx, stoppedWithin)
		groups, err := n.env.Bus.Groups(call)
		cancel()
		if err == nil && !slices.Equal(groups, *n.groups.Load()) { // unread, what was there before counts
			n.env.Log.Info("groups changed", "groups", string(groups.Encode()))
			n.groups.Store(&groups)
		}
	}
	return nil
}
