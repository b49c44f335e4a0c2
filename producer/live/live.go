// Package live carries the newest pictures of sources that wait for nobody: as many as the worker groups can take, and no
// others.
package live

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/producer/account"
	"github.com/spatial-flow/spatial-flow/producer/source"
	"github.com/spatial-flow/spatial-flow/producer/source/coded"
)

// errNotHeld is returned when another producer may have the source's name.
var errNotHeld = errors.New("the lease of the source's name is not held")

const stageFuser = "fuser"

// Why a live picture is skipped or a live frame dropped, beside flow.DroppedExpired.
const (
	skippedOvertaken = "overtaken" // a newer picture of its source came before any group took it
	skippedRate      = "rate"      // its source may not be taken so often
	SkippedBroken    = "broken"    // it can't be sent
	SkippedEnded     = "ended"     // its source ended first
	droppedPublish   = "publish"   // NATS did not store it
)

const (
	emptyPause    = 250 * time.Millisecond // before a file without a picture is read again
	publishWithin = 2 * time.Second        // that a frame is tried to be stored: older ones help nobody
	publishPause  = 20 * time.Millisecond  // after one that was not stored
)

// Config is what all live sources of a producer have in common.
type Config struct {
	Frames   uint64             // of each source; 0: all
	Budget   time.Duration      // that a frame may wait in each of its queues
	Required []string           // groups without which no frame is taken
	MaxRate  map[string]float64 // frames per second that a group is given at most
	Drain    time.Duration      // that frames under way have when a source ends
	Film     source.Film        // how films are read
	Load     *coded.Load        // that the cameras of this process share
}

// Source keeps the newest picture of one source ready for admission, whatever becomes of it, and publishes what is admitted.
type Source struct {
	spec      source.Spec
	cfg       Config
	file      string // that all pictures are in; empty: none
	log       *slog.Logger
	bus       *bus.Bus
	row       *account.Row
	account   *account.Account
	metrics   account.SourceMetrics
	admission *Admission
	done      *nats.Subscription
	box       mailbox
	left      uint64 // pictures that cfg.Frames leaves; counts down from MaxUint64 without it

	// Of the session, for the goroutine that captures.
	id        flow.FrameID // of its last picture
	partition int
	note      string // what is said of the source
	again     retry

	held func() bool // whether nobody else can have the source's name

	broken  string     // why the last picture that was not sent was not, for the goroutine that sends
	grants  chan grant // holds one at most
	sending sync.WaitGroup
	busy    bool // with a grant: under the lock of admission
	closed  bool // no more grants: under the lock of admission
}

// New is a source that is shown in row. It takes part from [Source.Run] or [Source.Begin] on. Nothing of it is admitted while held
// is false: another may have its name.
func New(s source.Spec, r *account.Row, cfg Config, env service.Env, admission *Admission, m account.Metrics, held func() bool) *Source {
	l := &Source{
		spec: s, cfg: cfg, file: s.File(), bus: env.Bus, log: env.Log.With("source", s.Name), row: r, account: r.Account,
		metrics: m.Of(s.Name), admission: admission, left: cfg.Frames, held: held, grants: make(chan grant, 1),
	}
	if l.left == 0 {
		l.left = math.MaxUint64
	}
	return l
}

// Run takes pictures until the source ends, or ctx does, and returns how it ended, and why if it failed. A camera that fails is opened
// again; frames that are under way then have the time of cfg.Drain.
func (l *Source) Run(ctx context.Context) (flow.State, string) {
	err := l.Begin()
	stopped := ctx.Err() != nil
	if err == nil {
		err = l.captureAll(ctx)
		stopped = ctx.Err() != nil && l.left > 0 // else a stop comes when it is at its end
		work, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.cfg.Drain)
		l.End(work)
		cancel()
	}
	state, reason := flow.StateComplete, ""
	sums := l.account.Snapshot()
	switch {
	case stopped:
		state = flow.StateStopped
	case err != nil:
		state, reason = flow.StateFailed, err.Error()
		l.log.Error("source failed", "error", err)
	}
	if state != flow.StateFailed {
		l.log.Info("source "+string(state), "captured", sums.Captured, "admitted", sums.Admitted, "in_flight", sums.InFlight)
	}
	return state, reason
}

// Begin has the source's pictures admitted, until [Source.End]. Its error is that of a subscription.
func (l *Source) Begin() (err error) {
	if l.done, err = l.bus.SubscribeDone("*", l.spec.Name, l.onDone); err != nil { // before the first publish
		return err
	}
	l.sending.Go(func() {
		for g := range l.grants {
			l.carry(g)
		}
	})
	l.admission.join(l)
	return nil
}

// End skips the picture that waits, and leaves once no frame is under way any more, or ctx ends.
func (l *Source) End(ctx context.Context) {
	l.SkipWaiting(0, SkippedEnded)
	l.admission.close(l)
	l.sending.Wait() // a grant is on its way for publishWithin at most
	l.account.Wait(ctx, 1)
	l.admission.leave(l)
	if err := l.done.Unsubscribe(); err != nil {
		l.log.Debug("unsubscribe", "error", err) // the connection is closed, and the subscription with it
	}
}

// captureAll opens the source, again and again where that makes sense: a file that loops, a camera that was lost.
func (l *Source) captureAll(ctx context.Context) error {
	for ctx.Err() == nil && l.left > 0 {
		before := l.left
		endless, err := l.captureOnce(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil && !endless && !l.spec.Settings.Loop:
			return nil
		case err != nil && (!l.spec.IsCamera() || errors.Is(err, source.ErrFilm)):
			return err
		case err != nil:
			wait, news := l.again.after(err)
			if news {
				l.log.Warn("camera lost; it is opened again and again", "error", err)
			}
			l.say(l.again.says(wait))
			clock.Sleep(ctx, wait)
		case l.left == before: // a file without a picture
			clock.Sleep(ctx, emptyPause)
		}
	}
	return nil
}

// captureOnce opens the source and captures what it has. endless is whether it is a camera.
func (l *Source) captureOnce(ctx context.Context) (endless bool, err error) {
	src, info, err := source.Open(ctx, l.spec, source.Options{Frames: l.cfg.Frames, Film: l.cfg.Film, Load: l.cfg.Load, Fetching: l.say})
	if err != nil {
		return l.spec.IsCamera(), err
	}
	l.BeginSession(info.Frames)
	l.row.Noted(info.Note)
	err = l.capture(ctx, src, info)
	err = errors.Join(err, src.Close())
	if corrupt := src.Corrupt(); corrupt > 0 && !info.Camera {
		l.log.Warn("broken packets were passed over", "corrupt", corrupt)
	}
	if info.Note != nil && info.Note() != "" && !l.spec.Settings.Loop {
		l.log.Info("not carried", "what", info.Note())
	}
	return info.Camera, err
}

// say tells, where the source is shown, what there is to say of it; empty: nothing.
func (l *Source) say(note string) {
	if note == l.note {
		return
	}
	l.note = note
	l.row.Waiting(note)
}

// BeginSession begins a session of so many pictures; 0: it is not known how many. It keeps the partition that it begins with.
func (l *Source) BeginSession(frames uint64) {
	d, _ := l.admission.deployed.Now()
	l.id, l.partition = flow.FrameID{Source: l.spec.Name, Session: ulid.Make().String()}, d.Begin(l.spec.Name)
	l.row.Began(l.id.Session, frames)
}

// capture puts the pictures of an open source into the mailbox: one session's, or, when their size changes, one after the other.
// nil is returned at the source's end, or that of ctx.
func (l *Source) capture(ctx context.Context, src source.Source, info source.Info) error {
	pace, corrupt := newPace(l.spec, info), uint64(0)
	for l.left > 0 {
		p, err := pace.next(ctx, src)
		if n := src.Corrupt(); n > corrupt {
			l.row.Corrupt(n - corrupt)
			corrupt = n
		}
		switch {
		case err == nil && ctx.Err() != nil:
			p.Release()
			return nil
		case ctx.Err() != nil, errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, source.ErrResized):
			l.log.Info("the size of the pictures has changed: a new session")
			l.BeginSession(0)
			continue
		case err != nil:
			return err
		}
		l.left--
		was := l.again.picture(time.Now())
		if was == "" && l.again.told == "" {
			was = l.note // of a picture
		}
		switch {
		case p.Note == "" && was != "":
			l.log.Info("camera is well again", "was", was)
		case p.Note == "" || p.Note == l.note:
		default:
			l.log.Warn("camera", "note", p.Note)
		}
		l.say(p.Note)
		l.metrics.Captured(p.Read)
		if !pace.takes(p.Captured) {
			l.id.Seq++
			l.skipped(&p, skippedRate)
			continue
		}
		l.offer(p)
	}
	return nil
}

// Received makes a picture that came without being read the newest of the source.
func (l *Source) Received(p source.Picture) {
	l.metrics.Received()
	l.offer(p)
}

// offer makes a picture the newest of its source.
func (l *Source) offer(p source.Picture) {
	l.id.Seq++
	if overtaken := l.box.put(&waiting{l.id, l.partition, p, time.Now()}); overtaken != nil {
		l.skipped(&overtaken.picture, skippedOvertaken)
	}
	l.admission.signal()
}

// SkipWaiting skips the picture that waits for admission, if it does so for at least so long.
func (l *Source) SkipWaiting(waited time.Duration, reason string) {
	if w := l.box.empty(waited); w != nil {
		l.skipped(&w.picture, reason)
	}
}

// Idle says whether no frame of the source is under way, and no picture waits.
func (l *Source) Idle() bool { return !l.box.full() && l.account.Snapshot().InFlight == 0 }

// skipped counts a picture that is not admitted, and tells who waits for it.
func (l *Source) skipped(p *source.Picture, reason string) {
	p.Release()
	l.account.Skip(reason)
	l.metrics.Skip(reason)
	if p.Broken != "" {
		reason += ": " + p.Broken
	}
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

// carry encodes and publishes a picture that was admitted.
func (l *Source) carry(g grant) {
	g.picture.Finish()
	if g.picture.Broken != "" {
		if g.picture.Broken != l.broken { // a camera may send nothing else
			l.log.Warn("broken picture", "seq", g.id.Seq, "reason", g.picture.Broken)
		}
		l.broken = g.picture.Broken
		l.skipped(&g.picture, SkippedBroken)
		l.admission.carried(l, g.id, true)
		return
	}
	l.account.Admit(g.id, g.plan, g.picture.Captured, time.Now())
	l.metrics.Admitted(g.picture.Encode, len(g.picture.Data))
	ack, err := l.publish(g)
	if err != nil {
		if l.account.Drop(g.id, droppedPublish, time.Now()) {
			l.metrics.Drop(droppedPublish)
		}
		l.log.Warn("frame not stored", "seq", g.id.Seq, "error", err)
		g.picture.Answer(nil, droppedPublish)
		time.Sleep(publishPause) // NATS is away: not as fast as cameras are
	} else {
		g.picture.Answer(ack, "")
	}
	l.admission.carried(l, g.id, err != nil)
}

func (l *Source) publish(g grant) (ack *jetstream.PubAck, err error) {
	p, begin := &g.picture, time.Now()
	frame := &flow.Frame{
		Source: g.id.Source, Session: g.id.Session, Seq: g.id.Seq, Mode: flow.ModeLive,
		Captured: clock.Stamp(p.Captured), Width: p.Width, Height: p.Height, Plan: g.plan,
		Budget: l.cfg.Budget, Picture: p.Data, File: cmp.Or(p.File, l.file), Ledger: []flow.Hop{{Stage: account.Stage}},
	}
	g.deployment.Stamp(frame, g.partition)
	ctx, cancel := context.WithTimeout(context.Background(), publishWithin)
	defer cancel()
	shrink := func() bool {
		if err := p.Shrink(l.bus.MaxMessage() - bus.FrameRoom); err != nil {
			return false
		}
		frame.Picture, frame.Width, frame.Height = p.Data, p.Width, p.Height
		return true
	}
	err = bus.Store(ctx, bus.Policy{Shrink: once(shrink)}, func(ctx context.Context) (err error) {
		if !l.held() {
			return errNotHeld
		}
		frame.Sent = clock.Stamp(time.Now())
		frame.Ledger[0].Work = p.Read + p.Encode
		frame.Ledger[0].Wait = max(0, time.Since(p.Captured)-p.Read-p.Encode) // for admission, and here
		ack, err = l.bus.StoreFrame(ctx, g.deployment.Groups, frame)
		return err
	})
	if err == nil {
		l.metrics.Stored(begin)
	}
	return ack, err
}

// once is a function that says false when it is called again.
func once(do func() bool) func() bool {
	called := false
	return func() bool {
		if called {
			return false
		}
		called = true
		return do()
	}
}
