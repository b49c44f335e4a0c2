package producer

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	flowclock "github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/flow/service"
)

// Why a live picture is skipped or a live frame dropped, beside flow.DroppedExpired.
const (
	skippedOvertaken = "overtaken" // a newer picture of its source came before any group took it
	skippedRate      = "rate"      // its source may not be taken so often
	skippedBroken    = "broken"    // it can't be sent
	skippedEnded     = "ended"     // its source ended first
	droppedPublish   = "publish"   // NATS did not store it
)

const (
	reopenLeast = 250 * time.Millisecond // before a camera is opened again
	reopenMost  = 10 * time.Second
	lagMost     = time.Second // that a file's clock is behind before it is set anew
)

// live keeps the newest picture of one source ready for the selection, whatever becomes of it.
type live struct {
	spec      spec
	cfg       Config
	log       *slog.Logger
	bus       *bus.Bus
	row       *row
	ledger    *ledger
	metrics   sourceMetrics
	selection *selection
	box       mailbox
	left      uint64 // pictures that --frames leaves; counts down from MaxUint64 without it
}

func newLive(s spec, r *row, cfg Config, env service.Env, selection *selection, m metrics) *live {
	l := &live{
		spec: s, cfg: cfg, bus: env.Bus, log: env.Log.With("source", s.name), row: r, ledger: r.ledger,
		metrics: m.of(s.name), selection: selection, left: cfg.Frames,
	}
	if l.left == 0 {
		l.left = math.MaxUint64
	}
	return l
}

// run takes pictures until the source ends, or ctx does, and tells the board how it ended. A camera that fails is opened
// again; frames that are under way then have the time of cfg.Drain.
func (l *live) run(ctx context.Context) flow.State {
	done, err := l.bus.SubscribeDone("*", l.spec.name, l.onDone) // before the first publish
	if err == nil {
		l.selection.join(l)
		err = l.captureAll(ctx)
		l.skipped(l.box.empty(0), skippedEnded)
		work, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.cfg.Drain)
		l.ledger.wait(work, 1) // until each has its scene, or expires
		cancel()
		l.selection.leave(l)
		if e := done.Unsubscribe(); e != nil {
			l.log.Debug("unsubscribe", "error", e) // the connection is closed, and the subscription with it
		}
	}
	state, reason := flow.StateComplete, ""
	account := l.ledger.snapshot()
	switch {
	case ctx.Err() != nil:
		state = flow.StateStopped
	case err != nil:
		state, reason = flow.StateFailed, err.Error()
		l.log.Error("source failed", "error", err)
	}
	if state != flow.StateFailed {
		l.log.Info("source "+string(state), "captured", account.Captured, "admitted", account.Admitted, "in_flight", account.InFlight)
	}
	l.row.ended(state, reason)
	return state
}

// captureAll opens the source, again and again where that makes sense: a file that loops, a camera that was lost.
func (l *live) captureAll(ctx context.Context) error {
	wait, told := reopenLeast, false
	for ctx.Err() == nil && l.left > 0 {
		before := l.left
		src, frames, err := openSource(l.spec, l.cfg)
		if err == nil {
			l.row.began(ulid.Make().String(), frames)
			err = l.capture(ctx, src)
			l.box.settle()
			err = errors.Join(err, src.Close())
			if l.left < before {
				wait, told = reopenLeast, false
			}
		}
		switch {
		case err == nil && !l.spec.settings.loop:
			return nil
		case err != nil && !l.spec.isCamera():
			return err
		case err != nil:
			if !told {
				l.log.Warn("camera lost; it is opened again and again", "error", err)
				told = true
			}
			flowclock.Sleep(ctx, wait)
			wait = min(2*wait, reopenMost)
		case l.left == before: // a file without a picture
			flowclock.Sleep(ctx, reopenLeast)
		}
	}
	return nil
}

// capture puts one session's pictures into the mailbox. nil is returned at the source's end, or that of ctx.
func (l *live) capture(ctx context.Context, src source) error {
	status, _ := l.row.snapshot()
	id := flow.FrameID{Source: l.spec.name, Session: status.Session}
	clock := newClock(l.spec, src)
	for l.left > 0 {
		if !clock.wait(ctx, src) {
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
		l.metrics.captured.Inc()
		l.metrics.read.Observe(p.read.Seconds())
		if !clock.takes(p.captured) {
			l.box.settle() // what waits is not overwritten by what is read now and passed over
			l.skipped(&p, skippedRate)
			continue
		}
		l.offer(id, p)
	}
	return nil
}

// offer makes a picture the newest of its source.
func (l *live) offer(id flow.FrameID, p picture) {
	l.skipped(l.box.put(id, p), skippedOvertaken)
	l.selection.signal()
}

// skipped counts a picture that is not admitted, unless it is nil, and tells who waits for it.
func (l *live) skipped(p *picture, reason string) {
	if p == nil {
		return
	}
	l.ledger.skip(reason)
	l.metrics.skip(reason)
	p.answer(nil, reason)
}

// onDone runs on the connection's goroutine: it waits for nothing but locks that are held briefly.
func (l *live) onDone(by string, done flow.Done) {
	id, now := flow.FrameID{Source: l.spec.name, Session: done.Session, Seq: done.Seq}, time.Now()
	if by != stageFuser {
		l.selection.done(by, id, done, now)
		return
	}
	if done.Outcome == flow.OutcomeDropped {
		if l.ledger.drop(id, done.Reason, now) {
			l.metrics.drop(done.Reason)
		}
		return
	}
	if age, ok := l.ledger.done(id, done.Outcome, now); ok {
		l.metrics.scene.Observe(age.Seconds())
		l.metrics.close(done.Outcome)
	} else {
		l.metrics.afterExpiry()
	}
}

// publish stores a frame that was admitted and booked. False is returned, and the frame dropped, when NATS does not.
func (l *live) publish(ctx context.Context, groups flow.Groups, id flow.FrameID, plan []string, p picture) bool {
	frame := &flow.Frame{
		Version: 1, Source: id.Source, Session: id.Session, Seq: id.Seq, Mode: flow.ModeLive,
		Captured: p.captured.UnixNano(), Sent: time.Now().UnixNano(), Width: p.width, Height: p.height, Plan: plan,
		Budget: l.cfg.Budget, Picture: p.data, Ledger: []flow.Hop{{Stage: stage, Work: p.read + p.encode}},
	}
	begin := time.Now()
	frame.Ledger[0].Wait = max(0, begin.Sub(p.captured)-p.read-p.encode) // in the mailbox
	l.metrics.admitLive(p)
	ack, err := l.bus.StoreFrame(ctx, groups, frame)
	if err != nil {
		if l.ledger.drop(id, droppedPublish, time.Now()) {
			l.metrics.drop(droppedPublish)
		}
		l.log.Warn("frame not stored", "seq", id.Seq, "error", err)
		p.answer(nil, droppedPublish)
		return false
	}
	l.metrics.stored(begin)
	p.answer(ack, "")
	return true
}

// clock holds a file to its pace and a camera to its rate.
type clock struct {
	every  time.Duration // between pictures of a file; 0: as they come
	due    time.Time     // the next picture
	least  time.Duration // between pictures of a camera that are taken
	before time.Time     // capture of the last one taken
}

// defaultFPS is the pace of a file that says none: folders, and videos without a rate.
const defaultFPS = 10

func newClock(s spec, src source) *clock {
	fps := s.settings.fps
	if s.isCamera() {
		if fps == 0 {
			return &clock{}
		}
		return &clock{least: time.Duration(float64(time.Second) / fps)}
	}
	if paced, ok := inner(src).(interface{ pace() float64 }); ok && fps == 0 {
		fps = paced.pace()
	}
	if fps == 0 {
		fps = defaultFPS
	}
	return &clock{every: time.Duration(float64(time.Second) / fps)}
}

// inner is the source that a limited one limits.
func inner(src source) source {
	if l, ok := src.(*limited); ok {
		return l.source
	}
	return src
}

// wait waits until the next picture is due, and passes those over whose time is gone already; false is returned when ctx
// ends first.
func (c *clock) wait(ctx context.Context, src source) bool {
	now := time.Now()
	if c.every == 0 {
		return ctx.Err() == nil
	}
	if c.due.IsZero() {
		c.due = now
	}
	if late := now.Sub(c.due); late > lagMost {
		c.due = now // it slept, or the machine did
	} else if gone := late / c.every; gone > 0 {
		if err := src.Skip(ctx, uint64(gone)); err != nil {
			return ctx.Err() == nil // the next read says it better
		}
		c.due = c.due.Add(gone * c.every)
	}
	wait := c.due.Sub(now)
	c.due = c.due.Add(c.every)
	return wait <= 0 || flowclock.Sleep(ctx, wait)
}

// takes says whether a camera's picture is one of those to take.
func (c *clock) takes(captured time.Time) bool {
	if c.least == 0 {
		return true
	}
	if !c.before.IsZero() && captured.Sub(c.before) < c.least*9/10 { // a camera's own clock is not exact
		return false
	}
	c.before = captured
	return true
}
