package partition

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
)

const (
	stoppedWithin = 2 * time.Second        // for what is left to do after ctx ended
	leaseEvery    = 250 * time.Millisecond // between two looks at a lease that is taken
)

// Run owns the share of the deployment's partitions that falls to this fuser, until ctx ends. When the deployment gets more
// partitions, those are shared too.
func (s *Shared) Run(ctx context.Context, share *Share) {
	var owners sync.WaitGroup
	defer owners.Wait()
	for number := 0; ; {
		deployment, changed := s.Deployed.Now()
		share.SetPartitions(deployment.Partitions)
		for ; number < deployment.Partitions; number++ {
			o := owner{Shared: s, number: number, share: share}
			owners.Go(func() { o.run(ctx) })
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// owner runs one partition whenever it can have its lease.
type owner struct {
	*Shared
	number int
	share  *Share
}

// run takes the lease, again and again, and joins while it has it, until ctx ends.
func (o *owner) run(ctx context.Context) {
	name := fmt.Sprintf("partition.%d", o.number)
	for told := false; ctx.Err() == nil; clock.Sleep(ctx, leaseEvery) {
		if !o.share.Reserve() {
			continue
		}
		call, cancel := context.WithTimeout(ctx, stoppedWithin)
		lease, err := o.Env.Bus.Lease(call, name, o.share.Instance)
		cancel()
		shed := false
		if err == nil {
			told = false
			shed, err = o.own(ctx, lease)
		}
		if !shed {
			o.share.Return()
		}
		switch {
		case err == nil || errors.Is(err, bus.ErrLeaseTaken) || ctx.Err() != nil:
		case !told:
			o.Env.Log.Warn("partition not owned", "partition", o.number, "error", err)
			told = true
		}
	}
}

// own joins until ctx ends, the lease is lost, or there are fusers enough to share with. What is held is given back before
// the lease is. shed says that the partition was given up to share, and no longer counts.
func (o *owner) own(ctx context.Context, lease *bus.Lease) (shed bool, err error) {
	o.Env.Log.Debug("partition owned", "partition", o.number)
	tasks, holding := errgroup.WithContext(ctx)
	holding, stop := context.WithCancel(holding)
	defer stop()
	tasks.Go(func() error { return newPartition(o.Shared, o.number).run(holding) })
	tasks.Go(func() error {
		for !shed && clock.Sleep(holding, leaseEvery) {
			shed = o.share.Shed()
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
