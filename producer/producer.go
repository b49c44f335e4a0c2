package producer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/producer/account"
	"github.com/spatial-flow/spatial-flow/producer/ingest"
	"github.com/spatial-flow/spatial-flow/producer/live"
	"github.com/spatial-flow/spatial-flow/producer/lossless"
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
	m, board := account.NewMetrics(env.Metrics), cfg.Status
	if board == nil {
		board = NewBoard()
	}
	statuses := make([]flow.SourceStatus, len(specs))
	for i, s := range specs {
		statuses[i] = s.Status()
	}
	rows := board.Add(statuses, cfg.Run)
	seen, unseen := context.WithCancel(context.WithoutCancel(ctx)) // alive until the last frame is accounted for
	var alive errgroup.Group
	alive.Go(func() error { return service.Alive(seen, env, account.Reporter(board)) })
	err = carryAll(ctx, cfg, env, board, specs, rows, m)
	if err == nil && !cfg.ExitWhenDone {
		<-ctx.Done()
	}
	env.Health.SetReady(false)
	unseen()
	return errors.Join(err, alive.Wait())
}

func carryAll(ctx context.Context, cfg Config, env service.Env, board *Board, specs []source.Spec, rows []*account.Row, m account.Metrics) error {
	groups, err := waitForGroups(ctx, env)
	if err == nil && (len(groups.On(time.Now())) == 0 || slices.ContainsFunc(specs, isLossless) && len(groups.LosslessPlan(time.Now(), func(flow.Group) bool { return false })) == 0) {
		err = ErrNoGroups
	}
	if err != nil {
		state, reason := flow.StateFailed, err.Error()
		if ctx.Err() != nil {
			state, reason, err = flow.StateStopped, "", cfg.Stopped()
		}
		for _, r := range rows {
			r.Ended(state, reason)
		}
		return err
	}
	env.Health.SetReady(true)
	defer context.AfterFunc(ctx, func() { env.Health.SetReady(false) })() // a stop is seen before it is over
	states := make([]flow.State, len(specs))
	admitting, stopAdmitting := context.WithCancel(context.WithoutCancel(ctx)) // until the last frame is accounted for
	defer stopAdmitting()
	admission := live.NewAdmission(cfg.live(), env.Bus, env.Log, groups, flow.AliveSubject(account.Stage, board.Instance()))
	var sources, admissions, ingested errgroup.Group
	admissions.Go(func() error { return admission.Run(admitting) })
	if cfg.Ingest {
		ingested.Go(func() error {
			return ingest.Run(ctx, ingest.Config{Settings: cfg.settings(), Live: cfg.live()}, env, board, admission, m)
		})
	}
	for i, s := range specs {
		sources.Go(func() error {
			if isLossless(s) {
				states[i] = lossless.Run(ctx, s, rows[i], cfg.lossless(), env, groups, m)
			} else {
				states[i] = live.New(s, rows[i], cfg.live(), env, admission, m).Run(ctx)
			}
			return nil
		})
	}
	_ = sources.Wait() // their ends are on the board
	err = ingested.Wait()
	stopAdmitting()
	if err := errors.Join(err, admissions.Wait()); err != nil {
		return err
	}
	if !cfg.ExitWhenDone {
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
		return fmt.Errorf("%w: %d of %d", ErrSource, n, len(specs))
	}
	if count(flow.StateComplete) < len(specs) {
		return cfg.Stopped()
	}
	return nil
}

func isLossless(s source.Spec) bool { return s.Mode() == flow.ModeLossless }

const (
	backoffLeast = 20 * time.Millisecond
	backoffMost  = 200 * time.Millisecond
)

// waitForGroups reads the groups entry, and waits for it.
func waitForGroups(ctx context.Context, env service.Env) (flow.Groups, error) {
	told := false
	for wait := backoffLeast; ; wait = min(2*wait, backoffMost) {
		groups, err := env.Bus.Groups(ctx)
		if err == nil || errors.Is(err, flow.ErrGroups) {
			return groups, err
		}
		if !told && ctx.Err() == nil {
			env.Log.Warn("waiting for the groups entry", "error", err)
			told = true
		}
		if !clock.Sleep(ctx, wait) {
			return nil, fmt.Errorf("wait for the groups entry: %w", context.Cause(ctx))
		}
	}
}
