package partition

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/fuser/delivery"
	"github.com/spatial-flow/spatial-flow/fuser/metrics"
)

const (
	stoppedWithin = 2 * time.Second        // for what is left to do after ctx ended
	leaseEvery    = 250 * time.Millisecond // between two looks at a lease that is taken
	fuserGone     = 3 * time.Second        // a fuser that is not heard for so long
)

// Limits bound what a partition holds.
type Limits struct {
	Sessions int           // of sources, known at once
	Bytes    int64         // of results that wait for the rest of their frame
	Prefetch int           // results of a group on their way at once
	HeldMax  time.Duration // age of the oldest depth map, by capture, that gives a live frame without one its nearness
}

// Owner runs one partition whenever it can have its lease.
type Owner struct {
	Number  int
	Limits  Limits
	Env     service.Env
	Metrics metrics.Metrics
	Groups  *NewestGroups
	Share   *Share
}

// Run takes the lease, again and again, and joins while it has it, until ctx ends.
func (o *Owner) Run(ctx context.Context) error {
	name := fmt.Sprintf("partition.%d", o.Number)
	for told := false; ctx.Err() == nil; clock.Sleep(ctx, leaseEvery) {
		if !o.Share.Reserve() {
			continue
		}
		call, cancel := context.WithTimeout(ctx, stoppedWithin)
		lease, err := o.Env.Bus.Lease(call, name, o.Share.Instance)
		cancel()
		shed := false
		if err == nil {
			told = false
			shed, err = o.own(ctx, lease)
		}
		if !shed {
			o.Share.Return()
		}
		switch {
		case err == nil || errors.Is(err, bus.ErrLeaseTaken) || ctx.Err() != nil:
		case !told:
			o.Env.Log.Warn("partition not owned", "partition", o.Number, "error", err)
			told = true
		}
	}
	return nil
}

// own joins until ctx ends, the lease is lost, the groups change, or there are fusers enough to share with. What is held is
// given back before the lease is. shed says that the partition was given up to share, and no longer counts.
func (o *Owner) own(ctx context.Context, lease *bus.Lease) (shed bool, err error) {
	o.Env.Log.Debug("partition owned", "partition", o.Number)
	tasks, holding := errgroup.WithContext(ctx)
	holding, stop := context.WithCancel(holding)
	defer stop()
	groups := o.Groups.groups.Load()
	var leftOut []string
	for _, group := range *groups {
		if group.Off {
			leftOut = append(leftOut, group.Name)
		}
	}
	p := newPartition(o.Limits, leftOut, o.Env.Bus, o.Env, o.Metrics)
	results := make(chan delivery.Delivery)
	for _, group := range *groups {
		for _, mode := range flow.Modes {
			tasks.Go(func() error { return p.pull(holding, group.Name, mode, o.Number, results) })
		}
	}
	tasks.Go(func() error { return p.run(holding, results) })
	tasks.Go(func() error {
		for !shed && o.Groups.groups.Load() == groups && clock.Sleep(holding, leaseEvery) {
			shed = o.Share.Shed()
		}
		stop()
		return nil
	})
	tasks.Go(func() error { return lease.Keep(holding) })
	err = tasks.Wait()
	if errors.Is(err, bus.ErrLeaseLost) {
		return shed, err
	}
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), stoppedWithin)
	defer cancel()
	if e := lease.Release(call); e != nil {
		o.Env.Log.Debug("lease ends by itself", "error", e)
	}
	return shed, err
}
