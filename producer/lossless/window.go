package lossless

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/producer/account"
	"github.com/spatial-flow/spatial-flow/producer/source"
)

// admitAll publishes pictures until there are no more and returns the last seq. It waits while the window is full.
func (l *carrier) admitAll(ctx, work context.Context, pictures <-chan source.Picture, seq uint64) (uint64, error) {
	for l.account.Wait(ctx, l.cfg.Window) && ctx.Err() == nil {
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
func (l *carrier) admit(ctx context.Context, p source.Picture, seq uint64) error {
	frame := &flow.Frame{
		Version: 1, Source: l.spec.Name, Session: l.session, Seq: seq, Mode: flow.ModeLossless,
		Captured: clock.Stamp(p.Captured), Width: p.Width, Height: p.Height, Plan: l.plan, Picture: p.Data, Error: p.Broken,
		Ledger: []flow.Hop{{Stage: account.Stage, Work: p.Read + p.Encode}},
	}
	if p.Broken != "" {
		l.log.Warn("broken picture", "seq", seq, "reason", p.Broken)
	}
	l.metrics.Captured(p.Read)
	l.metrics.Admitted(p.Encode, len(p.Data))
	l.account.Admit(frame.ID(), l.plan, p.Captured, time.Now())
	return l.store(ctx, frame)
}

// store publishes a frame until it is stored. [ErrStore] is returned when nothing but failures came back for
// cfg.StoreTimeout; a full stream is no failure, it is waited for.
func (l *carrier) store(ctx context.Context, frame *flow.Frame) error {
	wait, told, failing := backoffLeast, false, time.Time{}
	for {
		start := time.Now()
		frame.Sent = clock.Stamp(start)
		err := l.bus.PublishFrame(ctx, l.groups, frame)
		switch {
		case err == nil || !l.account.IsOpen(frame.ID()): // its scene is there: a try whose answer was lost had stored it
			l.metrics.Stored(start)
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
		if !clock.Sleep(ctx, wait) {
			return fmt.Errorf("%w: %w", ErrStore, err)
		}
		wait = min(2*wait, backoffMost)
	}
}

func (l *carrier) id(seq uint64) flow.FrameID {
	return flow.FrameID{Source: l.spec.Name, Session: l.session, Seq: seq}
}
