// Package lossless carries every picture of a source through the pipeline, in order, exactly once.
package lossless

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nats-io/nats.go"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/producer/account"
	"github.com/spatial-flow/spatial-flow/producer/fleet"
	"github.com/spatial-flow/spatial-flow/producer/source"
)

const (
	stageFuser   = "fuser"
	lookupEvery  = 100 * time.Millisecond // at most this late is a silent frame looked up
	callTimeout  = 2 * time.Second        // of one question to NATS
	backoffLeast = 20 * time.Millisecond
	backoffMost  = time.Second
)

// Config is what all lossless sources of a producer have in common.
type Config struct {
	Source          source.Options
	Run             string        // that is begun or gone on with; empty: each source is a new one
	Window          int           // frames of a source that may be under way
	StoreTimeout    time.Duration // that a frame is tried to be stored while NATS is away
	Silence         time.Duration // after which a frame's scene is looked up
	PositionTimeout time.Duration // that the position may take at the end
	Drain           time.Duration // that frames under way have at a stop
}

// Shared is what all lossless sources of a producer share.
type Shared struct {
	Env      service.Env
	Deployed *bus.Deployed
	Fleet    *fleet.Fleet
	Metrics  account.Metrics
	Memory   *Memory
}

// Run carries the source to its end, shows it in row, and returns how it ended, and why if it failed. When ctx ends it reads no
// more, and what is under way has the time of cfg.Drain. Nothing is published while held is false: another may have the
// source's name.
func Run(ctx context.Context, spec source.Spec, row *account.Row, cfg Config, shared Shared, held func() bool) (flow.State, string) {
	return newCarrier(spec, row, cfg, shared, held).run(ctx)
}

// carrier is one source on its way.
type carrier struct {
	spec      source.Spec
	cfg       Config
	bus       *bus.Bus
	log       *slog.Logger
	deployed  *bus.Deployed
	fleet     *fleet.Fleet
	row       *account.Row
	account   *account.Account
	metrics   account.SourceMetrics
	window    *window
	held      func() bool // whether nobody else can have the name of the source
	session   string
	file      string                        // that all pictures are in; empty: none
	heard     map[string]*nats.Subscription // by stage
	partition int                           // of the session
	film      string                        // what its film is known by; empty: it is none, or the run has no name
}

func newCarrier(spec source.Spec, row *account.Row, cfg Config, shared Shared, held func() bool) *carrier {
	status, _ := row.Snapshot()
	session := status.Session
	return &carrier{
		spec: spec, cfg: cfg, bus: shared.Env.Bus, log: shared.Env.Log.With("source", spec.Name, "session", session),
		deployed: shared.Deployed, fleet: shared.Fleet, row: row, account: row.Account, metrics: shared.Metrics.Of(spec.Name),
		window: newWindow(cfg.Window, shared.Memory), held: held, heard: map[string]*nats.Subscription{}, session: session, file: spec.File(),
	}
}

func (l *carrier) run(ctx context.Context) (state flow.State, reason string) {
	work, cancel := outlive(ctx, l.cfg.Drain)
	defer cancel(nil)
	err := l.carry(ctx, work, cancel)
	state, reason = flow.StateComplete, ""
	left := l.account.Snapshot().InFlight
	switch {
	case err == nil:
		l.log.Info("source complete", "frames", l.account.Snapshot().Admitted)
	case ctx.Err() != nil: // whatever else is said is about the stop
		state = flow.StateStopped
		l.log.Info("source stopped", "in_flight", left, "while", err)
	default:
		state, reason = flow.StateFailed, err.Error()
		l.log.Error("source failed", "error", err, "in_flight", left)
	}
	return state, reason
}

// outlive is a context that ends grace after ctx.
func outlive(ctx context.Context, grace time.Duration) (context.Context, context.CancelCauseFunc) {
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() {
		clock.Sleep(work, grace)
		cancel(fmt.Errorf("stopped, and nothing more for %v", grace))
	})
	return work, cancel
}

// carry returns nil when every frame of the source has its stored scene. Reading ends with ctx, all else with work,
// which cancel ends.
func (l *carrier) carry(ctx, work context.Context, cancel context.CancelCauseFunc) (err error) {
	src, info, err := source.Open(ctx, l.spec, l.cfg.Source)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	l.window.memory.join()
	defer l.window.memory.leave()
	defer l.deafen()
	if err := l.hear(stageFuser); err != nil { // before the first publish
		return err
	}
	l.row.Noted(info.Note)
	defer l.tellNote(info.Note)
	frames := info.Frames
	l.row.Opened(frames, 0)
	position, err := l.resume(ctx, src, info)
	if err != nil && !errors.Is(err, errEnded) {
		return err
	}
	l.row.Opened(frames, position)
	if err != nil {
		l.log.Info("already complete: every scene of this run is stored", "frames", frames)
		return nil
	}
	keeping, stopKeeping := context.WithCancel(work)
	var kept sync.WaitGroup
	kept.Go(func() { l.keepRecord(keeping) })
	defer kept.Wait()
	defer stopKeeping()

	last, err := l.carryAfter(ctx, work, cancel, src, position)
	if corrupt := src.Corrupt(); corrupt > 0 {
		l.log.Warn("broken packets were passed over", "corrupt", corrupt)
	}
	if err != nil {
		return err
	}
	l.row.Counted(last)
	if position > 0 && last == position {
		l.log.Info("already complete: every scene of this run is stored", "frames", last)
	}
	if err := l.checkPosition(work, last); err != nil || l.cfg.Run == "" {
		return err
	}
	if err := l.ask(work, func(ctx context.Context) error { return l.bus.SetEnded(ctx, l.spec.Name, l.session, last) }); err != nil {
		l.log.Warn("the end of the run is not noted: who stands by for it looks itself", "error", err)
	}
	return nil
}

// tellNote logs what of the source was not carried.
func (l *carrier) tellNote(note func() string) {
	if note != nil && note() != "" {
		l.log.Info("not carried", "what", note())
	}
}

// hear subscribes to what a stage is done with, unless that was done. The goroutine that admits calls it.
func (l *carrier) hear(stage string) error {
	if l.heard[stage] != nil {
		return nil
	}
	done, err := l.bus.SubscribeDone(stage, l.spec.Name, l.onDone)
	if err != nil {
		return err
	}
	l.heard[stage] = done
	return nil
}

// deafen ends all that hear began.
func (l *carrier) deafen() {
	for _, done := range l.heard {
		if err := done.Unsubscribe(); err != nil {
			l.log.Debug("unsubscribe", "error", err) // the connection is closed, and the subscription with it
		}
	}
}

// carryAfter carries the pictures after position and returns the last seq once all their scenes are stored.
func (l *carrier) carryAfter(ctx, work context.Context, cancel context.CancelCauseFunc, src source.Source, position uint64) (uint64, error) {
	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	defer context.AfterFunc(work, stopReading)()
	looking, stopLooking := context.WithCancel(work)
	defer stopLooking()
	pictures := make(chan source.Picture) // unbuffered: one picture is read ahead
	var tasks errgroup.Group
	tasks.Go(func() error { return l.read(reading, src, pictures) })
	tasks.Go(func() error { l.lookUp(looking, cancel); return nil })
	last, err := l.admitAll(reading, work, pictures, position)
	stopReading()
	empty := err == nil && l.window.drained(work)
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

// read hands the source's pictures over until its end, which is [io.EOF].
func (l *carrier) read(ctx context.Context, src source.Source, pictures chan<- source.Picture) error {
	defer close(pictures)
	corrupt := uint64(0)
	for {
		p, err := src.Next(ctx)
		if n := src.Corrupt(); n > corrupt {
			l.row.Corrupt(n - corrupt)
			corrupt = n
		}
		if err != nil {
			return err
		}
		p.Finish()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case pictures <- p:
		}
	}
}

// onDone runs on the connection's goroutine: it waits for nothing but locks that are held briefly.
func (l *carrier) onDone(stage string, done flow.Done) {
	if done.Session != l.session {
		return
	}
	id, now := flow.FrameID{Source: l.spec.Name, Session: l.session, Seq: done.Seq}, time.Now()
	if stage != stageFuser {
		l.window.answered(stage, id.Seq)
		return
	}
	if age, ok := l.account.Done(id, done.Outcome, now); ok {
		l.metrics.Seen(age)
		l.closed(id.Seq, done.Outcome)
	}
}

// closed makes room for a frame that has its scene.
func (l *carrier) closed(seq uint64, outcome flow.Outcome) {
	l.metrics.Close(outcome)
	l.row.Waiting("")
	l.window.release(seq)
}
