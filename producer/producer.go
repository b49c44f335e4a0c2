package producer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/spatial-flow/spatial-flow/flow"
	flowclock "github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/flow/service"
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
	m, board := newMetrics(env.Metrics), cfg.Status
	if board == nil {
		board = NewBoard()
	}
	rows := board.add(specs, cfg.Run)
	seen, unseen := context.WithCancel(context.WithoutCancel(ctx)) // alive until the last frame is accounted for
	var alive errgroup.Group
	alive.Go(func() error { return service.Alive(seen, env, reporter(board)) })
	err = carryAll(ctx, cfg, env, board, specs, rows, m)
	if err == nil && !cfg.ExitWhenDone {
		<-ctx.Done()
	}
	env.Health.SetReady(false)
	unseen()
	return errors.Join(err, alive.Wait())
}

func carryAll(ctx context.Context, cfg Config, env service.Env, board *Board, specs []spec, rows []*row, m metrics) error {
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
			r.ended(state, reason)
		}
		return err
	}
	env.Health.SetReady(true)
	defer context.AfterFunc(ctx, func() { env.Health.SetReady(false) })() // a stop is seen before it is over
	states := make([]flow.State, len(specs))
	selecting, stopSelecting := context.WithCancel(context.WithoutCancel(ctx)) // until the last frame is accounted for
	defer stopSelecting()
	selection := newSelection(cfg, env.Bus, env.Log, groups)
	selection.own = flow.AliveSubject(stage, board.instance)
	var sources, selector, ingested errgroup.Group
	selector.Go(func() error { return selection.run(selecting) })
	if cfg.Ingest {
		ingested.Go(func() error { return newIngest(cfg, env, board, selection, m).run(ctx) })
	}
	for i, s := range specs {
		sources.Go(func() error {
			if isLossless(s) {
				states[i] = newLossless(s, rows[i], cfg, env, groups, m).run(ctx)
			} else {
				states[i] = newLive(s, rows[i], cfg, env, selection, m).run(ctx)
			}
			return nil
		})
	}
	_ = sources.Wait() // their ends are on the board
	err = ingested.Wait()
	stopSelecting()
	if err := errors.Join(err, selector.Wait()); err != nil {
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

func isLossless(s spec) bool { return s.mode() == flow.ModeLossless }

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
		if !flowclock.Sleep(ctx, wait) {
			return nil, fmt.Errorf("wait for the groups entry: %w", context.Cause(ctx))
		}
	}
}

// reporter says, each time it is called, how the producer is and how many frames it finished per second since the
// time before.
func reporter(board *Board) func() flow.Alive {
	before, finished := time.Now(), uint64(0)
	return func() flow.Alive {
		alive := flow.Alive{Stage: stage, Instance: board.instance, Sources: board.Statuses()}
		now, total := time.Now(), uint64(0)
		for _, s := range alive.Sources {
			total += s.Account.Admitted - s.Account.InFlight
		}
		if elapsed := now.Sub(before).Seconds(); elapsed > 0 {
			alive.Rate = float64(total-finished) / elapsed
		}
		before, finished = now, total
		return alive
	}
}
