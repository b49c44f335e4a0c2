package fuser

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/errgroup"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/flow/service"
)

const (
	leaseEvery = 250 * time.Millisecond // between two looks at a lease that is taken
	fuserGone  = 3 * time.Second        // a fuser that is not heard for so long
)

// owner runs one partition whenever it can have its lease.
type owner struct {
	number  int
	cfg     Config
	env     service.Env
	metrics metrics
	groups  *newestGroups
	share   *share
	scenes  *rate
}

// run takes the lease, again and again, and joins while it has it, until ctx ends.
func (o *owner) run(ctx context.Context) error {
	name := fmt.Sprintf("partition.%d", o.number)
	for told := false; ctx.Err() == nil; clock.Sleep(ctx, leaseEvery) {
		if !o.share.take() {
			continue
		}
		call, cancel := context.WithTimeout(ctx, stoppedWithin)
		lease, err := o.env.Bus.Lease(call, name, o.share.instance)
		cancel()
		shed := false
		if err == nil {
			told = false
			shed, err = o.own(ctx, lease)
		}
		if !shed {
			o.share.give()
		}
		switch {
		case err == nil || errors.Is(err, bus.ErrLeaseTaken) || ctx.Err() != nil:
		case !told:
			o.env.Log.Warn("partition not owned", "partition", o.number, "error", err)
			told = true
		}
	}
	return nil
}

// own joins until ctx ends, the lease is lost, the groups change, or there are fusers enough to share with. What is held is
// given back before the lease is. shed says that the partition was given up to share, and no longer counts.
func (o *owner) own(ctx context.Context, lease *bus.Lease) (shed bool, err error) {
	o.env.Log.Debug("partition owned", "partition", o.number)
	tasks, holding := errgroup.WithContext(ctx)
	holding, stop := context.WithCancel(holding)
	defer stop()
	groups := o.groups.groups.Load()
	var leftOut []string
	for _, group := range *groups {
		if group.Off {
			leftOut = append(leftOut, group.Name)
		}
	}
	p := newPartition(o.cfg, leftOut, o.env, o.metrics, o.scenes)
	results := make(chan taken)
	for _, group := range *groups {
		for _, mode := range flow.Modes {
			tasks.Go(func() error { return p.take(holding, group.Name, mode, o.number, results) })
		}
	}
	tasks.Go(func() error { return p.run(holding, results) })
	tasks.Go(func() error {
		for !shed && o.groups.groups.Load() == groups && clock.Sleep(holding, leaseEvery) {
			shed = o.share.shed()
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
		o.env.Log.Debug("lease ends by itself", "error", e)
	}
	return shed, err
}

// share says how many of the partitions a fuser may own: as many as fall to it when all that are alive share.
type share struct {
	instance string

	mu    sync.Mutex
	taken int // owned, or being tried
	heard map[string]time.Time
}

func newShare() *share { return &share{instance: ulid.Make().String(), heard: map[string]time.Time{}} }

// most is how many partitions fall to each fuser, rounded up, under s.mu.
func (s *share) most() int {
	fusers := 0
	for subject, at := range s.heard {
		if time.Since(at) > fuserGone {
			delete(s.heard, subject)
			continue
		}
		fusers++
	}
	return (flow.Partitions + max(fusers, 1) - 1) / max(fusers, 1)
}

// take reserves one partition; false is returned when the fuser has its share.
func (s *share) take() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken >= s.most() {
		return false
	}
	s.taken++
	return true
}

func (s *share) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
}

// shed gives one partition up when the fuser owns more than its share; it is true for one caller per partition too many.
func (s *share) shed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken <= s.most() {
		return false
	}
	s.taken--
	return true
}

func (s *share) owned() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}

// follow counts the fusers that are alive until ctx ends.
func (s *share) follow(ctx context.Context, env service.Env) error {
	alive, err := env.Bus.Conn().Subscribe(flow.AliveSubject(stage, "*"), func(msg *nats.Msg) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, known := s.heard[msg.Subject]; known || len(s.heard) < flow.Partitions {
			s.heard[msg.Subject] = time.Now() // more fusers than partitions change nothing
		}
	})
	if err != nil {
		return fmt.Errorf("subscribe to the fusers that are alive: %w", err)
	}
	<-ctx.Done()
	if err := alive.Unsubscribe(); err != nil {
		env.Log.Debug("unsubscribe", "error", err) // the connection is closed, and the subscription with it
	}
	return nil
}
