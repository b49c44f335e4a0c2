package producer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/producer/account"
	"github.com/spatial-flow/spatial-flow/producer/fleet"
	"github.com/spatial-flow/spatial-flow/producer/ingest"
	"github.com/spatial-flow/spatial-flow/producer/live"
	"github.com/spatial-flow/spatial-flow/producer/lossless"
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
	specs, err := cfg.specs()
	if err != nil {
		return err
	}
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
		cfg: cfg, live: cfg.live(), env: env, board: board, metrics: account.NewMetrics(env.Metrics), specs: specs, rows: board.Add(statuses, cfg.Run),
		fleet: fleet.New(flow.AliveSubject(account.Stage, board.Instance())),
	}
	p.owner = owner.New(env.Bus, env.Log, board.Instance(), p.fleet, names, cfg.Takeover == "never")
	seen, unseen := context.WithCancel(context.WithoutCancel(ctx)) // alive until the last frame is accounted for
	defer unseen()
	var alive errgroup.Group
	alive.Go(func() error { return service.Alive(seen, env, account.Reporter(board, owner.List(names))) })
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
	specs   []source.Spec
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
	if len(p.specs) > 0 && !p.cfg.Ingest && !slices.ContainsFunc(p.specs, isLive) && !takesLossless(deployed.Groups()) {
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

// carry carries every source to its end, and tells how each ended.
func (p *program) carry(ctx context.Context, deployed *bus.Deployed, admission *live.Admission) []flow.State {
	states := make([]flow.State, len(p.specs))
	shared := lossless.Shared{
		Env: p.env, Deployed: deployed, Fleet: p.fleet, Metrics: p.metrics, Memory: lossless.NewMemory(int(p.cfg.WindowMemory)),
	}
	refused := !takesLossless(deployed.Groups())
	var sources errgroup.Group
	for i, spec := range p.specs {
		if isLossless(spec) && refused {
			p.env.Log.Error("source failed", "source", spec.Name, "error", ErrNoGroups)
			states[i] = flow.StateFailed
			p.rows[i].Ended(flow.StateFailed, ErrNoGroups.Error())
			continue
		}
		sources.Go(func() error {
			before, asked := p.played(ctx, spec.Name)
			state, reason := p.owner.Carry(ctx, spec.Name, p.movable(spec), p.rows[i], func(ctx context.Context, held func() bool, waited bool) (flow.State, string) {
				if !isLossless(spec) {
					if waited && asked {
						if now, known := p.played(ctx, spec.Name); known && now != before {
							return flow.StateComplete, ""
						}
					}
					state, reason := live.New(spec, p.rows[i], p.live, p.env, admission, p.metrics, held).Run(ctx)
					if state == flow.StateComplete {
						p.notePlayed(ctx, spec.Name, p.rows[i])
					}
					return state, reason
				}
				return lossless.Run(ctx, spec, p.rows[i], p.cfg.lossless(), shared, held)
			}, func() { p.left(spec.Name, p.rows[i]) })
			p.rows[i].Ended(state, reason)
			states[i] = state
			return nil
		})
	}
	_ = sources.Wait() // their ends are on the board
	return states
}

// callTimeout is for one question to NATS.
const callTimeout = 2 * time.Second

// sharers is the session of the note that a live source has ended: of those who are given the same sources, which each play it
// with a session of its own.
func (p *program) sharers() string {
	names := make([]string, len(p.specs))
	for i, s := range p.specs {
		names[i] = s.Name
	}
	return "live-" + owner.List(names)
}

// played is the revision of the note that a live source of these producers has ended; 0: there is none. known is false when NATS
// does not say. One that has changed since a producer began is of the play that it stood by for.
func (p *program) played(ctx context.Context, source string) (revision uint64, known bool) {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	end, err := p.env.Bus.Ended(call, source, p.sharers())
	return end.Revision, err == nil || errors.Is(err, bus.ErrNotFound)
}

// notePlayed notes that a live source has ended, so that nobody who stands by for it plays it again.
func (p *program) notePlayed(ctx context.Context, source string, row *account.Row) {
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	if err := p.env.Bus.SetEnded(call, source, p.sharers(), row.Account.Snapshot().Captured); err != nil {
		p.env.Log.Warn("the end of a live source is not noted: who stands by for it plays it again", "source", source, "error", err)
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

// left drops from the account what is under way of a source that another producer carries on.
func (p *program) left(source string, row *account.Row) {
	metrics := p.metrics.Of(source)
	for range row.Account.Leave(time.Now()) {
		metrics.Drop(account.LeftToOther)
	}
}

// movable says whether another producer can go on with a source: with a lossless one only when its run has a name.
func (p *program) movable(s source.Spec) bool { return !isLossless(s) || p.cfg.Run != "" }

func isLossless(s source.Spec) bool { return s.Mode() == flow.ModeLossless }
