package lossless

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/producer/account"
	"github.com/spatial-flow/spatial-flow/producer/source"
)

// admitAll publishes pictures until there are no more and returns the last seq. It waits while the window is full.
func (l *carrier) admitAll(ctx, work context.Context, pictures <-chan source.Picture, seq uint64) (uint64, error) {
	for {
		select {
		case <-ctx.Done():
			return seq, nil // the reader says that it was stopped
		case p, ok := <-pictures:
			if !ok {
				return seq, nil
			}
			if !l.window.wait(ctx, len(p.Data)) {
				return seq, nil
			}
			d, plan, ok := l.plannable(ctx)
			if !ok {
				return seq, nil
			}
			seq++
			if err := l.admit(work, d, plan, p, seq); err != nil {
				return seq, err
			}
		}
	}
}

// plannable waits for a deployment with groups that answer the next frame, and names them; false is returned when ctx ends first.
func (l *carrier) plannable(ctx context.Context) (d flow.Deployment, plan []string, ok bool) {
	for {
		d, changed := l.deployed.Now()
		plan, held := l.plan(d), l.held()
		if held && len(plan) > 0 {
			return d, plan, true
		}
		if held {
			l.row.Waiting("waiting for a worker group of lossless frames")
		} else {
			l.row.Waiting("waiting for the lease of its name")
		}
		select {
		case <-ctx.Done():
			return d, nil, false
		case <-changed:
		case <-time.After(lookupEvery): // a group's moment, or its first worker, comes
		}
	}
}

// plan is who answers a frame now. A group that is not required does while one of its workers is alive and it keeps up.
func (l *carrier) plan(d flow.Deployment) []string {
	return d.Groups.LosslessPlan(time.Now(), func(g flow.Group) bool {
		return l.fleet.Slots(g.Name) > 0 && l.window.keepsUp(g.Name)
	})
}

// admit opens a frame with this plan and stores it.
func (l *carrier) admit(ctx context.Context, d flow.Deployment, plan []string, p source.Picture, seq uint64) error {
	frame := &flow.Frame{
		Source: l.spec.Name, Session: l.session, Seq: seq, Mode: flow.ModeLossless,
		Captured: clock.Stamp(p.Captured), Width: p.Width, Height: p.Height, Plan: plan, Picture: p.Data, File: cmp.Or(p.File, l.file), Error: flow.CutText(p.Broken),
		Ledger: []flow.Hop{{Stage: account.Stage, Work: p.Read + p.Encode}},
	}
	d.Stamp(frame, l.partition)
	if p.Broken != "" {
		l.log.Warn("broken picture", "seq", seq, "reason", p.Broken)
	}
	l.metrics.Captured(p.Read)
	l.metrics.Admitted(p.Encode, len(p.Data))
	for _, name := range frame.Plan {
		if g, _ := d.Groups.Find(name); !g.Required() {
			if err := l.hear(name); err != nil {
				return err
			}
			l.window.expect(name, frame)
		}
	}
	k := l.window.keep(frame)
	defer l.window.free(k)
	l.account.Admit(frame.ID(), frame.Plan, p.Captured, time.Now())
	return l.store(ctx, d.Groups, k)
}

// errNotHeld is returned when another producer may have the source's name.
var errNotHeld = errors.New("the lease of the source's name is not held")

// errStoreTimeout ends the tries to store a frame.
var errStoreTimeout = errors.New("tried for long enough")

// store publishes a frame until it is stored, or its scene is. [ErrStore] is returned when nothing but failures came back for
// cfg.StoreTimeout; a full stream is no failure, it is waited for. The frame must be held.
func (l *carrier) store(ctx context.Context, groups flow.Groups, k *kept) error {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	begin, tries, failing := time.Now(), 0, time.Time{}
	policy := bus.Policy{
		Shrink: func() bool { return l.shrink(k.frame) },
		Waiting: func(err error) {
			tries++
			switch {
			case errors.Is(err, bus.ErrFull):
				failing = time.Time{}
			case failing.IsZero():
				failing = time.Now()
			case time.Since(failing) >= l.cfg.StoreTimeout:
				giveUp(errStoreTimeout)
			}
			if tries == 5 { // not what is over at once
				l.log.Warn("waiting to store a frame", "seq", k.frame.Seq, "error", err)
			}
			l.row.Waiting(fmt.Sprintf("waiting to store frame %d: %v", k.frame.Seq, err))
		},
	}
	err := bus.Store(ctx, policy, func(ctx context.Context) error {
		if !l.account.IsOpen(k.frame.ID()) {
			return nil // its scene is there: a try whose answer was lost had stored it
		}
		if !l.held() {
			return errNotHeld
		}
		k.frame.Sent = clock.Stamp(time.Now())
		ack, err := l.bus.StoreFrame(ctx, groups, k.frame)
		if err == nil {
			k.stored = ack.Sequence
		}
		return err
	})
	if err != nil && l.account.IsOpen(k.frame.ID()) {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	if tries > 0 {
		l.row.Waiting("")
	}
	l.window.storedAt(k.frame, k.stored)
	l.metrics.Stored(begin)
	return nil
}

// shrink makes a frame smaller: its picture at first, and then it does without one.
func (l *carrier) shrink(frame *flow.Frame) bool {
	if frame.Error != "" {
		return false
	}
	most := l.bus.MaxMessage() - bus.FrameRoom
	p := source.Picture{Data: frame.Picture}
	err := fmt.Errorf("a picture of %d bytes and all that is said of it take more than a message", len(frame.Picture))
	if len(frame.Picture) > most {
		if err = p.Shrink(most); err == nil {
			frame.Picture, frame.Width, frame.Height = p.Data, p.Width, p.Height
			return true
		}
	}
	l.log.Warn("frame too large", "seq", frame.Seq, "reason", err)
	frame.Picture, frame.Error = nil, flow.CutText(err.Error())
	return true
}
