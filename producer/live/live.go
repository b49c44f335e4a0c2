// Package live carries the newest pictures of sources that wait for nobody: as many as the worker groups can take, and no
// others.
package live

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/oklog/ulid/v2"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/producer/account"
	"github.com/spatial-flow/spatial-flow/producer/source"
)

const stageFuser = "fuser"

// Why a live picture is skipped or a live frame dropped, beside flow.DroppedExpired.
const (
	skippedOvertaken = "overtaken" // a newer picture of its source came before any group took it
	skippedRate      = "rate"      // its source may not be taken so often
	skippedBroken    = "broken"    // it can't be sent
	SkippedEnded     = "ended"     // its source ended first
	droppedPublish   = "publish"   // NATS did not store it
)

const (
	reopenLeast = 250 * time.Millisecond // before a camera is opened again
	reopenMost  = 10 * time.Second
)

// Config is what all live sources of a producer have in common.
type Config struct {
	Frames   uint64             // of each source; 0: all
	Budget   time.Duration      // that a frame may wait in each of its queues
	Required []string           // groups without which no frame is taken
	MaxRate  map[string]float64 // frames per second that a group is given at most
	Drain    time.Duration      // that frames under way have when a source ends
}

// Source keeps the newest picture of one source ready for admission, whatever becomes of it.
type Source struct {
	spec      source.Spec
	cfg       Config
	log       *slog.Logger
	bus       *bus.Bus
	row       *account.Row
	account   *account.Account
	metrics   account.SourceMetrics
	admission *Admission
	done      *nats.Subscription
	box       mailbox
	left      uint64 // pictures that cfg.Frames leaves; counts down from MaxUint64 without it
}

// New is a source that is shown in row. It takes part from [Source.Run] or [Source.Begin] on.
func New(s source.Spec, r *account.Row, cfg Config, env service.Env, admission *Admission, m account.Metrics) *Source {
	l := &Source{
		spec: s, cfg: cfg, bus: env.Bus, log: env.Log.With("source", s.Name), row: r, account: r.Account,
		metrics: m.Of(s.Name), admission: admission, left: cfg.Frames,
	}
	if l.left == 0 {
		l.left = math.MaxUint64
	}
	return l
}

// Run takes pictures until the source ends, or ctx does, and tells the board how it ended. A camera that fails is opened
// again; frames that are under way then have the time of cfg.Drain.
func (l *Source) Run(ctx context.Context) flow.State {
	err := l.Begin()
	if err == nil {
		err = l.captureAll(ctx)
		l.SkipWaiting(0, SkippedEnded)
		work, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.cfg.Drain)
		l.Drain(work) // until each has its scene, or expires
		cancel()
		l.End()
	}
	state, reason := flow.StateComplete, ""
	sums := l.account.Snapshot()
	switch {
	case ctx.Err() != nil:
		state = flow.StateStopped
	case err != nil:
		state, reason = flow.StateFailed, err.Error()
		l.log.Error("source failed", "error", err)
	}
	if state != flow.StateFailed {
		l.log.Info("source "+string(state), "captured", sums.Captured, "admitted", sums.Admitted, "in_flight", sums.InFlight)
	}
	l.row.Ended(state, reason)
	return state
}

// Begin has the source's pictures admitted, until [Source.End]. Its error is that of a subscription.
func (l *Source) Begin() (err error) {
	if l.done, err = l.bus.SubscribeDone("*", l.spec.Name, l.onDone); err != nil { // before the first publish
		return err
	}
	l.admission.join(l)
	return nil
}

// End leaves what is under way to itself.
func (l *Source) End() {
	l.admission.leave(l)
	if err := l.done.Unsubscribe(); err != nil {
		l.log.Debug("unsubscribe", "error", err) // the connection is closed, and the subscription with it
	}
}

// captureAll opens the source, again and again where that makes sense: a file that loops, a camera that was lost.
func (l *Source) captureAll(ctx context.Context) error {
	wait, told := reopenLeast, false
	for ctx.Err() == nil && l.left > 0 {
		before := l.left
		src, info, err := source.Open(l.spec, source.Options{Frames: l.cfg.Frames})
		if err == nil {
			l.row.Began(ulid.Make().String(), info.Frames)
			err = l.capture(ctx, src, info.FPS)
			l.box.settle()
			err = errors.Join(err, src.Close())
			if l.left < before {
				wait, told = reopenLeast, false
			}
		}
		switch {
		case err == nil && !l.spec.Settings.Loop:
			return nil
		case err != nil && !l.spec.IsCamera():
			return err
		case err != nil:
			if !told {
				l.log.Warn("camera lost; it is opened again and again", "error", err)
				told = true
			}
			clock.Sleep(ctx, wait)
			wait = min(2*wait, reopenMost)
		case l.left == before: // a file without a picture
			clock.Sleep(ctx, reopenLeast)
		}
	}
	return nil
}

// capture puts one session's pictures, of which there are fps a second (0: not known), into the mailbox. nil is returned at the source's end, or that of ctx.
func (l *Source) capture(ctx context.Context, src source.Source, fps float64) error {
	status, _ := l.row.Snapshot()
	id := flow.FrameID{Source: l.spec.Name, Session: status.Session}
	pace := newPace(l.spec, fps)
	for l.left > 0 {
		if !pace.wait(ctx, src) {
			return nil
		}
		p, err := src.Next(ctx)
		switch {
		case ctx.Err() != nil, errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		id.Seq++
		l.left--
		l.metrics.Captured(p.Read)
		if !pace.takes(p.Captured) {
			l.box.settle() // what waits is not overwritten by what is read now and passed over
			l.skipped(&p, skippedRate)
			continue
		}
		l.offer(id, p)
	}
	return nil
}

// offer makes a picture the newest of its source.
func (l *Source) offer(id flow.FrameID, p source.Picture) {
	l.skipped(l.box.put(id, p), skippedOvertaken)
	l.admission.signal()
}

// Received makes a picture that came without being read the newest of the source.
func (l *Source) Received(id flow.FrameID, p source.Picture) {
	l.metrics.Received()
	l.offer(id, p)
}

// SkipWaiting skips the picture that waits for admission, if it does so for at least so long.
func (l *Source) SkipWaiting(waited time.Duration, reason string) {
	l.skipped(l.box.empty(waited), reason)
}

// Drain waits until no frame of the source is under way, or ctx ends.
func (l *Source) Drain(ctx context.Context) { l.account.Wait(ctx, 1) }

// Idle says whether no frame of the source is under way.
func (l *Source) Idle() bool { return l.account.Snapshot().InFlight == 0 }

// skipped counts a picture that is not admitted, unless it is nil, and tells who waits for it.
func (l *Source) skipped(p *source.Picture, reason string) {
	if p == nil {
		return
	}
	l.account.Skip(reason)
	l.metrics.Skip(reason)
	p.Answer(nil, reason)
}

// onDone runs on the connection's goroutine: it waits for nothing but locks that are held briefly.
func (l *Source) onDone(by string, done flow.Done) {
	id, now := flow.FrameID{Source: l.spec.Name, Session: done.Session, Seq: done.Seq}, time.Now()
	if by != stageFuser {
		l.admission.done(by, id, done, now)
		return
	}
	if done.Outcome == flow.OutcomeDropped {
		if l.account.Drop(id, done.Reason, now) {
			l.metrics.Drop(done.Reason)
		}
		return
	}
	if age, ok := l.account.Done(id, done.Outcome, now); ok {
		l.metrics.Seen(age)
		l.metrics.Close(done.Outcome)
	} else {
		l.metrics.AfterExpiry()
	}
}

// publish stores a frame that was admitted and booked. False is returned, and the frame dropped, when NATS does not.
func (l *Source) publish(ctx context.Context, groups flow.Groups, id flow.FrameID, plan []string, p source.Picture) bool {
	frame := &flow.Frame{
		Version: 1, Source: id.Source, Session: id.Session, Seq: id.Seq, Mode: flow.ModeLive,
		Captured: clock.Stamp(p.Captured), Sent: clock.Stamp(time.Now()), Width: p.Width, Height: p.Height, Plan: plan,
		Budget: l.cfg.Budget, Picture: p.Data, Ledger: []flow.Hop{{Stage: account.Stage, Work: p.Read + p.Encode}},
	}
	begin := time.Now()
	frame.Ledger[0].Wait = max(0, begin.Sub(p.Captured)-p.Read-p.Encode) // in the mailbox
	l.metrics.Admitted(p.Encode, len(p.Data))
	ack, err := l.bus.StoreFrame(ctx, groups, frame)
	if err != nil {
		if l.account.Drop(id, droppedPublish, time.Now()) {
			l.metrics.Drop(droppedPublish)
		}
		l.log.Warn("frame not stored", "seq", id.Seq, "error", err)
		p.Answer(nil, droppedPublish)
		return false
	}
	l.metrics.Stored(begin)
	p.Answer(ack, "")
	return true
}
