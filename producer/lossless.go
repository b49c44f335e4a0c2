package producer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	flowclock "github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/flow/service"
)

const (
	stageFuser   = "fuser"
	lookupEvery  = 100 * time.Millisecond // at most this late is a silent frame looked up
	callTimeout  = 2 * time.Second        // of one question to NATS
	backoffLeast = 20 * time.Millisecond
	backoffMost  = 200 * time.Millisecond
)

// lossless carries every picture of one source through the pipeline, in order, exactly once.
type lossless struct {
	spec    spec
	cfg     Config
	bus     *bus.Bus
	log     *slog.Logger
	groups  flow.Groups
	plan    []string
	row     *row
	ledger  *ledger
	metrics sourceMetrics
	session string
}

func newLossless(s spec, r *row, cfg Config, env service.Env, groups flow.Groups, m metrics) *lossless {
	status, _ := r.snapshot()
	session := status.Session
	return &lossless{
		spec: s, cfg: cfg, bus: env.Bus, log: env.Log.With("source", s.name, "session", session), groups: groups, plan: groups.LosslessPlan(time.Now(), func(flow.Group) bool { return false }),
		row: r, ledger: r.ledger, metrics: m.of(s.name), session: session,
	}
}

// run carries the source to its end and tells the board how it ended. When ctx ends it reads no more, and what is
// under way has the time of cfg.Drain.
func (l *lossless) run(ctx context.Context) (state flow.State) {
	work, cancel := outlive(ctx, l.cfg.Drain)
	defer cancel(nil)
	err := l.carry(ctx, work, cancel)
	state, reason := flow.StateComplete, ""
	left := l.ledger.snapshot().InFlight
	switch {
	case err == nil:
		l.log.Info("source complete", "frames", l.ledger.snapshot().Admitted)
	case ctx.Err() != nil: // whatever else is said is about the stop
		state = flow.StateStopped
		l.log.Info("source stopped", "in_flight", left, "while", err)
	default:
		state, reason = flow.StateFailed, err.Error()
		l.log.Error("source failed", "error", err, "in_flight", left)
	}
	l.row.ended(state, reason)
	return state
}

// outlive is a context that ends grace after ctx.
func outlive(ctx context.Context, grace time.Duration) (context.Context, context.CancelCauseFunc) {
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() {
		flowclock.Sleep(work, grace)
		cancel(fmt.Errorf("stopped, and nothing more for %v", grace))
	})
	return work, cancel
}

// carry returns nil when every frame of the source has its stored scene. Reading ends with ctx, all else with work,
// which cancel ends.
func (l *lossless) carry(ctx, work context.Context, cancel context.CancelCauseFunc) (err error) {
	src, frames, err := openSource(l.spec, l.cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	done, err := l.bus.SubscribeDone(stageFuser, l.spec.name, l.onDone) // before the first publish
	if err != nil {
		return err
	}
	defer func() {
		if e := done.Unsubscribe(); e != nil {
			l.log.Debug("unsubscribe", "error", e) // the connection is closed, and the subscription with it
		}
	}()
	l.row.opened(frames, 0)
	position, err := l.resume(ctx, src, frames)
	if err != nil {
		return err
	}
	l.row.opened(frames, position)

	last, err := l.follow(ctx, work, cancel, src, position)
	if err != nil {
		return err
	}
	if last < frames {
		l.log.Warn("the source ended before the number of frames that it claims: it may be cut short", "frames", last, "claimed", frames)
	}
	l.row.counted(last)
	if position > 0 && last == position {
		l.log.Info("already complete: every scene of this run is stored", "frames", last)
	}
	return l.checkPosition(work, last)
}

// follow carries the pictures after position and returns the last seq once all their scenes are stored.
func (l *lossless) follow(ctx, work context.Context, cancel context.CancelCauseFunc, src source, position uint64) (uint64, error) {
	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	defer context.AfterFunc(work, stopReading)()
	looking, stopLooking := context.WithCancel(work)
	defer stopLooking()
	pictures := make(chan picture) // unbuffered: one picture is read ahead
	var tasks errgroup.Group
	tasks.Go(func() error { return read(reading, src, pictures) })
	tasks.Go(func() error { l.lookUp(looking, cancel); return nil })
	last, err := l.admitAll(reading, work, pictures, position)
	stopReading()
	empty := err == nil && l.ledger.wait(work, 1)
	stopLooking()
	readErr := tasks.Wait()
	switch {
	case err != nil:
		return last, err
	case !empty:
		return last, fmt.Errorf("wait for the scenes: %w", context.Cause(work))
	case !errors.Is(readErr, io.EOF):
		return last, readErr
	}
	return last, nil
}

// resume passes over what the run has done before and returns how many frames that is.
func (l *lossless) resume(ctx context.Context, src source, frames uint64) (uint64, error) {
	if l.cfg.Run == "" { // the session is new
		l.tellIncomplete(ctx, frames)
		return 0, nil
	}
	position, err := l.position(ctx)
	if err != nil {
		return 0, err
	}
	if position > 0 {
		l.log.Info("going on", "after", position)
	}
	if err := src.Skip(ctx, position); err != nil {
		return 0, fmt.Errorf("go on after frame %d: %w", position, err)
	}
	return position, nil
}

// tellIncomplete reports the earlier runs of the source that stopped before its last frame; frames is how many it has,
// 0 when that is not known.
func (l *lossless) tellIncomplete(ctx context.Context, frames uint64) {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	runs, err := l.bus.Runs(call)
	for _, session := range runs[l.spec.name] {
		position, _, e := l.bus.Position(call, l.spec.name, session)
		err = errors.Join(err, e)
		if e == nil && position.Seq < frames {
			l.log.Warn("an earlier run of this source is incomplete; --run goes on with it", "run", session, "stored", position.Seq, "frames", frames)
		}
	}
	if err != nil {
		l.log.Debug("earlier runs not looked up", "error", err)
	}
}

// position asks until NATS answers, for cfg.StoreTimeout at most.
func (l *lossless) position(ctx context.Context) (uint64, error) {
	start := time.Now()
	for wait := backoffLeast; ; wait = min(2*wait, backoffMost) {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		position, _, err := l.bus.Position(call, l.spec.name, l.session)
		cancel()
		if errors.Is(err, bus.ErrNotFound) {
			return 0, nil
		}
		if err == nil {
			return position.Seq, nil
		}
		if errors.Is(err, nats.ErrConnectionClosed) || time.Since(start) > l.cfg.StoreTimeout || !flowclock.Sleep(ctx, wait) {
			return 0, err
		}
	}
}

// read hands the source's pictures over until its end, which is [io.EOF].
func read(ctx context.Context, src source, pictures chan<- picture) error {
	defer close(pictures)
	for {
		p, err := src.Next(ctx)
		if err != nil {
			return err
		}
		p.finish()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case pictures <- p:
		}
	}
}

// admitAll publishes pictures until there are no more and returns the last seq. It waits while the window is full.
func (l *lossless) admitAll(ctx, work context.Context, pictures <-chan picture, seq uint64) (uint64, error) {
	for l.ledger.wait(ctx, l.cfg.Window) && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case p, ok := <-pictures:
			if !ok {
				return seq, nil
			}
			seq++
			if err := l.admit(work, p, seq); err != nil {
				return seq, err
			}
		}
	}
	return seq, nil // the reader says that it was stopped
}

// admit opens a frame and stores it.
func (l *lossless) admit(ctx context.Context, p picture, seq uint64) error {
	frame := &flow.Frame{
		Version: 1, Source: l.spec.name, Session: l.session, Seq: seq, Mode: flow.ModeLossless,
		Captured: p.captured.UnixNano(), Width: p.width, Height: p.height, Plan: l.plan, Picture: p.data, Error: p.broken,
		Ledger: []flow.Hop{{Stage: stage, Work: p.read + p.encode}},
	}
	if p.broken != "" {
		l.log.Warn("broken picture", "seq", seq, "reason", p.broken)
	}
	l.metrics.admit(p)
	l.ledger.admit(frame.ID(), l.plan, p.captured, time.Now())
	return l.store(ctx, frame)
}

// store publishes a frame until it is stored. [ErrStore] is returned when nothing but failures came back for
// cfg.StoreTimeout; a full stream is no failure, it is waited for.
func (l *lossless) store(ctx context.Context, frame *flow.Frame) error {
	wait, told, failing := backoffLeast, false, time.Time{}
	for {
		start := time.Now()
		frame.Sent = start.UnixNano()
		err := l.bus.PublishFrame(ctx, l.groups, frame)
		switch {
		case err == nil || !l.ledger.isOpen(frame.ID()): // its scene is there: a try whose answer was lost had stored it
			l.metrics.stored(start)
			return nil
		case errors.Is(err, bus.ErrTooLarge) && frame.Error == "":
			frame.Picture, frame.Error = nil, err.Error()
			continue
		case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, flow.ErrMessage): // for good
			return fmt.Errorf("%w: %w", ErrStore, err)
		case errors.Is(err, bus.ErrFull):
			failing = time.Time{}
		case failing.IsZero():
			failing = start
		case time.Since(failing) >= l.cfg.StoreTimeout:
			return fmt.Errorf("%w: tried for %v: %w", ErrStore, l.cfg.StoreTimeout, err)
		}
		if !told && wait >= backoffMost {
			l.log.Warn("waiting to store a frame", "seq", frame.Seq, "error", err)
			told = true
		}
		if !flowclock.Sleep(ctx, wait) {
			return fmt.Errorf("%w: %w", ErrStore, err)
		}
		wait = min(2*wait, backoffMost)
	}
}

func (l *lossless) id(seq uint64) flow.FrameID {
	return flow.FrameID{Source: l.spec.name, Session: l.session, Seq: seq}
}

// onDone runs on the connection's goroutine: it waits for nothing but the ledger's lock.
func (l *lossless) onDone(_ string, done flow.Done) {
	if done.Session != l.session {
		return
	}
	if age, ok := l.ledger.done(l.id(done.Seq), done.Outcome, time.Now()); ok {
		l.metrics.scene.Observe(age.Seconds())
		l.metrics.close(done.Outcome)
	}
}

// lookUp asks, until ctx ends, for the scenes of frames whose done may have been lost. It calls closed when there is
// no connection left to ask on.
func (l *lossless) lookUp(ctx context.Context, closed context.CancelCauseFunc) {
	ticker := time.NewTicker(lookupEvery)
	defer ticker.Stop()
	told := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.ledger.suspect:
		case <-ticker.C:
		}
		for _, id := range l.ledger.due(time.Now(), l.cfg.Silence) {
			call, cancel := context.WithTimeout(ctx, callTimeout)
			outcome, err := l.bus.SceneOutcome(call, flow.FirstPartition(id.Source), id)
			cancel()
			switch {
			case err == nil:
				told = false
				if l.ledger.found(id, outcome, time.Now()) {
					l.metrics.close(outcome)
				}
			case errors.Is(err, bus.ErrNotFound):
				told = false
			case errors.Is(err, nats.ErrConnectionClosed):
				closed(err)
				return
			case ctx.Err() == nil && !told:
				l.log.Warn("waiting to look scenes up", "error", err)
				told = true
			}
		}
	}
}

// checkPosition waits until the run's position is last. [ErrPosition] is returned when it doesn't get there.
func (l *lossless) checkPosition(ctx context.Context, last uint64) error {
	start := time.Now()
	for wait := backoffLeast; ; wait = min(2*wait, backoffMost) {
		position, err := l.position(ctx)
		if err != nil {
			return err
		}
		if position == last {
			return nil
		}
		if time.Since(start) > l.cfg.PositionTimeout || !flowclock.Sleep(ctx, wait) {
			return fmt.Errorf("%w: it says %d, the account %d", ErrPosition, position, last)
		}
	}
}
