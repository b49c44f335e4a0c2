// Package partition owns partitions of the results, by leases: each has one owner, which takes its results and hands
// them to the session or camera that they belong to.
package partition

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/fuser/camera"
	"github.com/spatial-flow/spatial-flow/fuser/delivery"
	"github.com/spatial-flow/spatial-flow/fuser/join"
	"github.com/spatial-flow/spatial-flow/fuser/metrics"
	"github.com/spatial-flow/spatial-flow/fuser/session"
)

// Limits bound what a partition holds.
type Limits struct {
	Sources  int           // sessions and cameras, known at once
	Bytes    int64         // of results, of each mode, that are taken and not acked
	Prefetch int           // results of a group on their way at once
	HeldMax  time.Duration // age of the oldest depth map, by capture, that gives a live frame without one its nearness
}

// Shared is what the partitions of a fuser have in common.
type Shared struct {
	Limits    Limits
	Env       service.Env
	Store     Store
	Metrics   metrics.Metrics
	Deployed  *bus.Deployed
	Newer     *bus.Newer
	Live      *join.Lags
	Lossless  *join.Lags
	Unpackers join.Unpackers
}

// Store is where scenes and positions are stored.
type Store interface {
	session.Scenes
	camera.Scenes
	session.Record
	PublishDone(stage, source string, done flow.Done) error
}

// partition is one that is owned, for as long as its owner has the lease.
type partition struct {
	*Shared
	number    int
	results   chan *delivery.Delivery
	needs     atomic.Pointer[join.Needs]
	holds     map[flow.Mode]*delivery.Hold // neither mode takes the other's room
	positions *session.Writer
	actors    actors
	delays    map[string]*clock.Delays // of live results, by group: each has a stream of its own
	pulled    map[pulling]bool         // true: its results are pulled; false: they were, until the group was retired and its stream gone
	unpulled  chan pulling
}

func newPartition(shared *Shared, number int) *partition {
	p := &partition{
		Shared: shared, number: number, results: make(chan *delivery.Delivery),
		holds: map[flow.Mode]*delivery.Hold{}, positions: session.NewWriter(shared.Store, shared.Env.Log),
		delays: map[string]*clock.Delays{}, pulled: map[pulling]bool{}, unpulled: make(chan pulling),
	}
	for _, mode := range flow.Modes {
		p.holds[mode] = delivery.NewHold(shared.Limits.Bytes)
	}
	needs := func() join.Needs { return *p.needs.Load() }
	p.actors = actors{
		most: shared.Limits.Sources, known: map[name]*actor{},
		sessions: session.Shared{
			Scenes: shared.Store, Positions: p.positions, Done: p.done, Full: p.holds[flow.ModeLossless].Full, Needs: needs,
			Groups: shared.Deployed.Groups, Lags: shared.Lossless, Unpackers: shared.Unpackers, Metrics: shared.Metrics, Log: shared.Env.Log,
		},
		cameras: camera.Shared{
			Scenes: shared.Store, Done: p.done, Full: p.holds[flow.ModeLive].Full, Needs: needs, HeldMax: shared.Limits.HeldMax,
			Lags: shared.Live, Unpackers: shared.Unpackers, Metrics: shared.Metrics, Log: shared.Env.Log,
		},
	}
	return p
}

// run pulls and joins until ctx ends, then gives back what it holds and writes the positions.
func (p *partition) run(ctx context.Context) error {
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error {
		return p.dispatch(ctx, func(of pulling) {
			tasks.Go(func() error {
				err := p.pull(ctx, of.group, of.mode)
				p.ended(ctx, of)
				return err
			})
		})
	})
	err := tasks.Wait()
	for _, hold := range p.holds {
		hold.GiveBack()
	}
	p.positions.Write(context.WithoutCancel(ctx))
	return err
}

// pulling is the results of one group in one mode.
type pulling struct {
	group string
	mode  flow.Mode
}

// ended tells the dispatcher that they are not pulled any more.
func (p *partition) ended(ctx context.Context, of pulling) {
	select {
	case p.unpulled <- of:
	case <-ctx.Done():
	}
}

// dispatch hands the results on until ctx ends and all who got some have ended. pull is called once for each group of the
// deployment and each mode: now, when one is added, and when one comes back whose pull has ended.
func (p *partition) dispatch(ctx context.Context, pull func(pulling)) error {
	var beside sync.WaitGroup
	for _, hold := range p.holds {
		beside.Go(func() { hold.KeepAlive(ctx) })
	}
	beside.Go(func() { p.positions.Run(ctx) })
	defer beside.Wait()
	defer p.actors.running.Wait()
	ticker := time.NewTicker(tidyEvery)
	defer ticker.Stop()
	changed := p.follow(pull)
	for {
		select {
		case <-ctx.Done():
			return nil
		case d := <-p.results:
			p.hand(ctx, d)
		case <-changed:
			changed = p.follow(pull)
			p.actors.tell()
		case of := <-p.unpulled:
			p.pulled[of] = false
			changed = p.follow(pull) // it may have come back meanwhile
		case now := <-ticker.C:
			p.actors.tidy(now)
		}
	}
}

// follow takes the deployment as it is now over, without giving anything up. The channel is closed when it is another one.
func (p *partition) follow(pull func(pulling)) <-chan struct{} {
	deployment, changed := p.Deployed.Now()
	needs := join.NeedsOf(deployment.Groups)
	p.needs.Store(&needs)
	for _, group := range deployment.Groups {
		for _, mode := range flow.Modes {
			of := pulling{group.Name, mode}
			if pulled, before := p.pulled[of]; !pulled && (!before || !group.Retired) {
				p.pulled[of] = true
				pull(of)
			}
		}
	}
	return changed
}

func (p *partition) hand(ctx context.Context, d *delivery.Delivery) {
	if d.Result.Mode == flow.ModeLive {
		d.Stale = d.Again || p.waited(d) > d.Result.Budget
	}
	hold := p.holds[d.Result.Mode]
	full := hold.Full()
	if !hold.Add(d) {
		return
	}
	if !p.actors.hand(ctx, d, full) {
		p.Metrics.Refused.WithLabelValues("results", "full").Inc()
		d.GiveBack(fullWait)
	}
}

// waited is how much longer than the quickest of late a live result waited for this fuser, be it that there was none.
func (p *partition) waited(d *delivery.Delivery) time.Duration {
	delays := p.delays[d.Result.Group]
	if delays == nil {
		delays = new(clock.Delays)
		p.delays[d.Result.Group] = delays
	}
	return delays.Of(clock.Delivery{Connection: p.Env.Bus.Reconnects(), Seq: d.Sequence, Stored: d.Stored, Received: d.Received})
}

func (p *partition) done(source string, done flow.Done) {
	if err := p.Store.PublishDone(join.Stage, source, done); err != nil {
		p.Env.Log.Debug("done not sent", "error", err) // the producer looks the scene up, or lets the frame expire
	}
}
