package lossless

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/producer/source"
)

// resume passes over what the run has done before and returns how many frames that is.
func (l *carrier) resume(ctx context.Context, src source.Source, frames uint64) (uint64, error) {
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
func (l *carrier) tellIncomplete(ctx context.Context, frames uint64) {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	runs, err := l.bus.Runs(call)
	for _, session := range runs[l.spec.Name] {
		position, _, e := l.bus.Position(call, l.spec.Name, session)
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
func (l *carrier) position(ctx context.Context) (uint64, error) {
	start := time.Now()
	for wait := backoffLeast; ; wait = min(2*wait, backoffMost) {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		position, _, err := l.bus.Position(call, l.spec.Name, l.session)
		cancel()
		if errors.Is(err, bus.ErrNotFound) {
			return 0, nil
		}
		if err == nil {
			return position.Seq, nil
		}
		if errors.Is(err, nats.ErrConnectionClosed) || time.Since(start) > l.cfg.StoreTimeout || !clock.Sleep(ctx, wait) {
			return 0, err
		}
	}
}

// checkPosition waits until the run's position is last. [ErrPosition] is returned when it doesn't get there.
func (l *carrier) checkPosition(ctx context.Context, last uint64) error {
	start := time.Now()
	for wait := backoffLeast; ; wait = min(2*wait, backoffMost) {
		position, err := l.position(ctx)
		if err != nil {
			return err
		}
		if position == last {
			return nil
		}
		if time.Since(start) > l.cfg.PositionTimeout || !clock.Sleep(ctx, wait) {
			return fmt.Errorf("%w: it says %d, the account %d", ErrPosition, position, last)
		}
	}
}
