package lossless

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/producer/source"
)

// errEnded is returned when a run has no frame left: there is nothing to read, not even to pass over.
var errEnded = errors.New("the run has ended")

// resume makes the session's record, or finds it, passes over what the run has done before and returns how many frames that is.
// [errEnded] is returned when the run is noted as ended with the last of the frames that the source has now, [ErrOtherFilm] when it
// was begun with another film.
func (l *carrier) resume(ctx context.Context, src source.Source, info source.Info) (uint64, error) {
	frames := info.Frames
	if l.cfg.Run == "" { // the session is new
		l.tellIncomplete(ctx, frames)
	}
	position, err := l.openPosition(ctx)
	if err != nil {
		return 0, err
	}
	l.partition = position.Partition
	if position.Seq > 0 {
		l.log.Info("going on", "after", position.Seq)
	}
	if info.Film != nil && l.cfg.Run != "" {
		if err := l.sameFilm(ctx, info.Film, position.Seq > 0); err != nil {
			return 0, err
		}
	}
	if frames > 0 && position.Seq == frames && l.endedAt(ctx, frames) {
		return frames, errEnded
	}
	if err := src.Skip(ctx, position.Seq); err != nil {
		return 0, fmt.Errorf("go on after frame %d: %w", position.Seq, err)
	}
	return position.Seq, nil
}

// sameFilm makes sure that the film is the one that the run was begun with, as far as that was noted, and notes it.
func (l *carrier) sameFilm(ctx context.Context, film *source.FilmFile, begun bool) error {
	mark, err := film.Mark()
	if err != nil {
		return fmt.Errorf("know the film: %w", err)
	}
	noted := ""
	err = l.ask(ctx, func(ctx context.Context) (err error) {
		noted, err = l.bus.Film(ctx, l.spec.Name, l.session)
		if errors.Is(err, bus.ErrNotFound) {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	if begun && noted != "" {
		if same, err := film.Is(noted); err != nil || !same {
			return errors.Join(err, fmt.Errorf("%w: run %s of source %s: give this film another --run, or forget that one (spatialflow runs forget)", ErrOtherFilm, l.session, l.spec.Name))
		}
	}
	l.film = mark
	return l.ask(ctx, func(ctx context.Context) error { return l.bus.SetFilm(ctx, l.spec.Name, l.session, mark) })
}

// endedAt says whether the run is noted as ended with that frame, as far as NATS answers.
func (l *carrier) endedAt(ctx context.Context, seq uint64) bool {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	end, err := l.bus.Ended(call, l.spec.Name, l.session)
	return err == nil && end.Seq == seq
}

// openPosition is how far the session is, and the partition that it keeps: that of its record, of its last scene, or, when it
// begins now, of the deployment. The record is there before the first frame.
func (l *carrier) openPosition(ctx context.Context) (position flow.Position, err error) {
	d, _ := l.deployed.Now()
	err = l.ask(ctx, func(ctx context.Context) error {
		before, _, err := l.bus.Position(ctx, l.spec.Name, l.session)
		if errors.Is(err, bus.ErrNotFound) {
			before, err = flow.Position{Partition: d.Begin(l.spec.Name)}, nil
		}
		if err != nil {
			return err
		}
		position, err = l.bus.OpenPosition(ctx, l.spec.Name, l.session, before.Partition)
		position.Seq = max(position.Seq, before.Seq)
		return err
	})
	return position, err
}

const (
	keptTimes = 3                // so often is the record written while it may be left alone for [flow.Limits].PositionsKeep
	keepAgain = 10 * time.Second // after it could not be
)

// keepRecord keeps the session's record from going for its age, until ctx ends: one whose frames all wait has no scene that would
// renew it. A record that is not there any more stays away.
func (l *carrier) keepRecord(ctx context.Context) {
	for told := false; ; {
		d, _ := l.deployed.Now()
		wait := d.Limits.PositionsKeep / keptTimes
		if l.held() {
			call, cancel := context.WithTimeout(ctx, callTimeout)
			err := l.bus.KeepPosition(call, l.spec.Name, l.session)
			if err == nil && l.film != "" {
				err = l.bus.SetFilm(call, l.spec.Name, l.session, l.film)
			}
			cancel()
			if err != nil && !errors.Is(err, bus.ErrNotFound) {
				wait = min(wait, keepAgain)
			}
			if err != nil && ctx.Err() == nil && !told {
				l.log.Warn("the record of the run is not renewed", "error", err)
			}
			told = err != nil
		}
		if !clock.Sleep(ctx, wait) {
			return
		}
	}
}

// tellIncomplete reports the earlier runs of the source that stopped before its last frame; frames is how many it has,
// 0 when that is not known.
func (l *carrier) tellIncomplete(ctx context.Context, frames uint64) {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	sessions, err := l.bus.Sessions(call, l.spec.Name)
	for _, session := range sessions {
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

// ask asks until NATS answers, for cfg.StoreTimeout at most.
func (l *carrier) ask(ctx context.Context, question func(context.Context) error) error {
	start := time.Now()
	for wait := backoffLeast; ; wait = min(2*wait, backoffMost) {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		err := question(call)
		cancel()
		if err == nil {
			l.row.Waiting("")
		}
		if err == nil || errors.Is(err, nats.ErrConnectionClosed) || time.Since(start) > l.cfg.StoreTimeout {
			return err
		}
		l.row.Waiting(fmt.Sprintf("waiting for NATS to answer: %v", err))
		if !clock.Sleep(ctx, wait/2+rand.N(wait)) {
			return err
		}
	}
}

// position is how far the session is.
func (l *carrier) position(ctx context.Context) (seq uint64, err error) {
	err = l.ask(ctx, func(ctx context.Context) error {
		position, _, err := l.bus.Position(ctx, l.spec.Name, l.session)
		seq = position.Seq
		if errors.Is(err, bus.ErrNotFound) {
			return nil
		}
		return err
	})
	return seq, err
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
		if time.Since(start) > l.cfg.PositionTimeout || !clock.Sleep(ctx, wait/2+rand.N(wait)) {
			return fmt.Errorf("%w: it says %d, the account %d", ErrPosition, position, last)
		}
	}
}
