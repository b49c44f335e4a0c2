package producer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/producer/account"
	"github.com/spatial-flow/spatial-flow/producer/fleet"
	"github.com/spatial-flow/spatial-flow/producer/ingest"
	"github.com/spatial-flow/spatial-flow/producer/live"
	"github.com/spatial-flow/spatial-flow/producer/owner"
	"github.com/spatial-flow/spatial-flow/producer/source"
)

// Run carries all sources through the pipeline, each on its own: one that fails does not stop the others. When ctx
// ends it reads no more, waits at most cfg.Drain for what is under way, and returns nil; so the bus, the workers
// and the fuser must outlive it. When every source has ended it stays, to be seen, until ctx ends, or, with
// cfg.ExitWhenDone, returns: [ErrSource] if one failed, [ErrStopped] if ctx ended before one was at its end, so that
// who runs it, as a Kubernetes Job, does not take it for done.
func Run(ctx context.Context, cfg Config, env service.Env) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	first, err := cfg.sources()
	if err != nil {
		return err
	}
	for _, err := range first.refused {
		env.Log.Error("source passed over", "error", err)
	}
	specs := first.specs
	board := cfg.Status
	if board == nil {
		board = NewBoard()
	}
	statuses := make([]flow.SourceStatus, len(specs))
	for i, s := range specs {
		statuses[i] = s.Status()
	}
	names := make([]string, len(specs))
	for i, s := range specs {
		names[i] = s.Name
	}
	p := &program{
		cfg: cfg, live: cfg.live(), env: env, board: board, metrics: account.NewMetrics(env.Metrics), first: first, rows: board.Add(statuses, cfg.Run),
		fleet: fleet.New(flow.AliveSubject(account.Stage, board.Instance())),
	}
	p.owner = owner.New(env.Bus, env.Log, board.Instance(), p.fleet, names, cfg.Takeover == "never")
	seen, unseen := context.WithCancel(context.WithoutCancel(ctx)) // alive until the last frame is accounted for
	defer unseen()
	var alive errgroup.Group
	report := account.Reporter(board, p.owner.List)
	alive.Go(func() error {
		return service.Alive(seen, env, func() flow.Alive {
			now := report()
			now.Allows = cfg.AllowSource
			return now
		})
	})
	alive.Go(func() error { return p.fleet.Watch(seen, env.Bus, env.Log) })
	err = p.run(ctx, seen)
	if err == nil && !cfg.ExitWhenDone {
		<-ctx.Done()
	}
	env.Health.SetReady(false)
	unseen()
	return errors.Join(err, alive.Wait())
}

// program is one life of a producer.
type program struct {
	cfg     Config
	live    live.Config
	env     service.Env
	board   *Board
	metrics account.Metrics
	first   taken // what it starts with
	rows    []*account.Row
	fleet   *fleet.Fleet
	owner   *owner.Owner
}

// run carries the sources; seen ends when the last frame is accounted for.
func (p *program) run(ctx, seen context.Context) error {
	deployed, err := p.deployment(ctx, seen)
	if err != nil {
		state, reason := flow.StateFailed, err.Error()
		if ctx.Err() != nil {
			state, reason, err = flow.StateStopped, "", p.cfg.Stopped()
		}
		for _, r := range p.rows {
			r.Ended(state, reason)
		}
		return err
	}
	p.env.Health.SetReady(true)
	defer context.AfterFunc(ctx, func() { p.env.Health.SetReady(false) })() // a stop is seen before it is over
	admission := live.NewAdmission(p.live, p.env.Log, deployed, p.fleet)
	admitting, stopAdmitting := context.WithCancel(seen)
	defer stopAdmitting()
	var admissions, ingested errgroup.Group
	admissions.Go(func() error { admission.Run(admitting); return nil })
	if p.cfg.Ingest {
		settings := ingest.Config{Settings: p.cfg.settings(), Live: p.live, Sources: p.cfg.IngestSources}
		ingested.Go(func() error { return ingest.Run(ctx, settings, p.env, p.board, admission, p.metrics) })
	}
	states := p.carry(ctx, deployed, admission)
	err = ingested.Wait()
	stopAdmitting()
	if err := errors.Join(err, admissions.Wait()); err != nil {
		return err
	}
	return p.verdict(ctx, states)
}

// deployment waits for the deployment object, and follows it until seen ends. [ErrNoGroups] is returned when there are lossless
// sources alone, and nobody is to take their frames, now or later: live ones wait for a group that is on.
func (p *program) deployment(ctx, seen context.Context) (*bus.Deployed, error) {
	watching, stop := context.WithCancelCause(seen)
	began := context.AfterFunc(ctx, func() { stop(context.Cause(ctx)) }) // unless it has come
	p.waiting("waiting for the deployment object")
	deployed, err := p.env.Bus.Watch(watching, p.env.Log)
	p.waiting("")
	if !began() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		stop(err)
		return nil, err
	}
	isLive := func(s source.Spec) bool { return !isLossless(s) }
	if len(p.first.specs) > 0 && !p.cfg.Ingest && !slices.ContainsFunc(p.first.specs, isLive) && !takesLossless(deployed.Groups()) {
		stop(ErrNoGroups)
		return nil, ErrNoGroups
	}
	return deployed, nil
}

// takesLossless says whether one of the groups takes lossless frames, or will from its moment on.
func takesLossless(groups flow.Groups) bool {
	return slices.ContainsFunc(groups, func(g flow.Group) bool { return !g.Off && !g.LiveOnly })
}

// waiting tells of every source what it waits for.
func (p *program) waiting(reason string) {
	for _, r := range p.rows {
		r.Waiting(reason)
	}
}

// verdict is what the ends of the sources come to.
func (p *program) verdict(ctx context.Context, states []flow.State) error {
	if !p.cfg.ExitWhenDone {
		return nil
	}
	count := func(ended flow.State) (n int) {
		for _, state := range states {
			if state == ended {
				n++
			}
		}
		return n
	}
	if n := count(flow.StateFailed); n > 0 && ctx.Err() == nil {
		return fmt.Errorf("%w: %d of %d", ErrSource, n, len(states))
	}
	if count(flow.StateComplete) < len(states) {
		return p.cfg.Stopped()
	}
	return nil
}

func isLossless(s source.Spec) bool { return s.Mode() == flow.ModeLossless }
