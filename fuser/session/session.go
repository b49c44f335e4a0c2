// Package session joins the results of one session of a lossless source, in a goroutine of its own, and stores its
// scenes in frame order.
package session

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/fuser/delivery"
	"github.com/spatial-flow/spatial-flow/fuser/join"
	"github.com/spatial-flow/spatial-flow/fuser/metrics"
	"github.com/spatial-flow/spatial-flow/fuser/store"
)

const (
	putBackWait = time.Second     // before a result that found no room comes again
	openWithin  = 2 * time.Second // for reading where a session stands
	openLeast   = 50 * time.Millisecond
	openMost    = 1600 * time.Millisecond // between two tries
	beginWait   = 30 * time.Second        // for the first frame of a session of which nothing is recorded
	beginWithin = 10 * time.Second        // for a look at what is stored of it
)

// ID names one session of one source: the frames that are stored in one order.
type ID struct{ Source, Name string }

// Scenes is where scenes are stored.
type Scenes interface {
	Position(ctx context.Context, source, session string) (position flow.Position, last *flow.Scene, err error)
	LastScene(ctx context.Context, source, session string) (*flow.Scene, error)
	PublishScene(ctx context.Context, scene *flow.Scene) error
	StoredBefore(ctx context.Context, groups flow.Groups, partition int, id flow.FrameID) (bool, error)
}

// Positions is told how far sessions are, and writes it some time later.
type Positions interface {
	Note(id ID, position flow.Position)
	Noted(id ID) (seq uint64)
}

// Shared is what the sessions of a partition have in common.
type Shared struct {
	Scenes    Scenes
	Positions Positions
	Done      func(source string, done flow.Done)
	Full      func() bool // whether only results of a session's next frame find room
	Needs     func() join.Needs
	Groups    func() flow.Groups
	Lags      *join.Lags
	Unpackers join.Unpackers
	Metrics   metrics.Metrics
	Log       *slog.Logger
}

// Session is one session while its fuser knows it. [Session.Run] is its goroutine.
type Session struct {
	*Shared
	id     ID
	joiner *join.Lossless[*delivery.Delivery] // made when it is known where the session stands
	stable *depthmap.Range                    // after the newest frame that is fused
	fused  *fused                             // the frame after the one that is being stored
	stored chan result
	busy   bool      // a scene is being stored
	place  int       // partition
	lost   bool      // nothing is recorded of it: it may have begun long ago
	gap    time.Time // since when its next frame is missing, while it is lost
}

// fused is a frame whose scene is not stored yet.
type fused struct {
	joined join.Joined
	scene  *flow.Scene
	at     time.Time
}

// result is what became of a scene.
type result struct {
	fused
	already bool // it was stored before
	err     error
}

// New makes a session.
func New(shared *Shared, id ID) *Session {
	return &Session{Shared: shared, id: id, stored: make(chan result, 1)}
}

// Run joins what comes through the mailbox until ctx ends or the mailbox is closed. changed tells that groups changed.
// What is held then is not given back. A scene that is being stored is stored first, as far as that is possible in its own time.
func (s *Session) Run(ctx context.Context, mailbox <-chan *delivery.Delivery, changed <-chan struct{}) {
	if !s.open(ctx) {
		return
	}
	due := time.NewTimer(time.Hour)
	defer due.Stop()
	defer func() {
		if s.busy {
			s.finish(context.WithoutCancel(ctx), <-s.stored)
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case d, ok := <-mailbox:
			if !ok {
				return
			}
			s.add(d)
		case r := <-s.stored:
			s.finish(ctx, r)
		case <-changed:
		case <-due.C:
		}
		wake := s.advance(ctx)
		if s.lost {
			wake = s.begin(ctx, wake)
		}
		if !wake.IsZero() {
			due.Reset(time.Until(wake))
		}
	}
}

func (s *Session) add(d *delivery.Delivery) {
	s.place = d.Result.Place()
	stored, err := s.joiner.Add(d.Result, !s.Full(), d, d.Received)
	switch {
	case err != nil:
		s.Metrics.Refused.WithLabelValues("results", "full").Inc()
		d.GiveBack(putBackWait)
	case stored:
		d.Ack()
	}
}

// open reads where the session stands, and its stable range, with its stored scenes, however often it takes. What comes
// meanwhile waits in the mailbox. False is returned when ctx ended before.
func (s *Session) open(ctx context.Context) bool {
	for wait := openLeast; ; wait = min(2*wait, openMost) {
		err := s.read(ctx)
		if err == nil {
			return true
		}
		if wait == openMost/2 && ctx.Err() == nil {
			s.Log.Warn("session waits: it can't be read where it stands", "source", s.id.Source, "session", s.id.Name, "error", err)
		}
		if !clock.Sleep(ctx, wait/2+rand.N(wait)) {
			return false
		}
	}
}

func (s *Session) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openWithin)
	defer cancel()
	position, last, err := s.Scenes.Position(ctx, s.id.Source, s.id.Name)
	if err != nil && !errors.Is(err, bus.ErrNotFound) {
		return err
	}
	if last != nil {
		s.stable = last.Range
	}
	s.lost = err != nil && s.Positions.Noted(s.id) == 0
	s.joiner = join.NewLossless[*delivery.Delivery](max(position.Seq, s.Positions.Noted(s.id)), s.Lags)
	return nil
}

// advance stores the next frame, and fuses the one after it meanwhile. wake is when more is to be done without any
// further event; zero: never.
func (s *Session) advance(ctx context.Context) (wake time.Time) {
	for {
		if s.fused == nil {
			joined, at, ok := s.joiner.Next(s.Needs(), time.Now())
			if !ok {
				return at
			}
			s.fused = s.fuse(joined)
		}
		if s.busy {
			return wake
		}
		f := *s.fused
		s.fused, s.busy = nil, true
		go func() {
			already, err := store.EverTrying(ctx, s.Scenes, f.scene, s.Log)
			s.stored <- result{fused: f, already: already, err: err}
		}()
	}
}

// fuse makes the scene of the next frame.
func (s *Session) fuse(joined join.Joined) *fused {
	begin := time.Now()
	unpacker := s.Unpackers.Borrow()
	defer s.Unpackers.Return(unpacker)
	needs := s.Needs()
	scene, _ := join.Fuse(joined, needs, s.stable, unpacker, begin)
	s.Metrics.CountShadows(joined, needs)
	s.stable = scene.Range
	now := time.Now()
	scene.Ledger[len(scene.Ledger)-1].Work = now.Sub(begin)
	s.Metrics.Seconds.WithLabelValues("join").Observe(now.Sub(begin).Seconds())
	return &fused{joined: joined, scene: scene, at: now}
}

// finish acks the results of a frame whose scene is stored.
func (s *Session) finish(ctx context.Context, r result) {
	s.busy = false
	if r.err != nil {
		return // ctx has ended
	}
	s.Metrics.Seconds.WithLabelValues("publish").Observe(time.Since(r.at).Seconds())
	if r.already {
		s.adopt(ctx, r.scene)
	}
	s.Positions.Note(s.id, flow.Position{Seq: r.scene.Seq, Partition: r.scene.Place()}) // before the acks: a session that is forgotten has no result open
	for _, d := range s.joiner.Stored() {
		d.Ack()
	}
	hop := r.scene.Ledger[len(r.scene.Ledger)-1]
	s.Done(r.scene.Source, flow.Done{
		Version: r.scene.Version, Session: r.scene.Session, Seq: r.scene.Seq, Wait: hop.Wait, Work: hop.Work, Outcome: r.scene.Outcome,
	})
	s.Metrics.Scenes.Add()
}

// adopt goes on from the scene that is stored, where somebody else's was faster, or the answer was lost.
func (s *Session) adopt(ctx context.Context, own *flow.Scene) {
	ctx, cancel := context.WithTimeout(ctx, openWithin)
	defer cancel()
	last, err := s.Scenes.LastScene(ctx, s.id.Source, s.id.Name)
	if err != nil {
		s.Log.Debug("stored scene not read", "frame", own.ID().String(), "error", err) // its range is as good as ours
		return
	}
	if last.Seq != own.Seq { // the newest is further: it tells when it is its turn
		return
	}
	own.Outcome, s.stable = last.Outcome, last.Range
	if s.fused != nil {
		s.fused = s.fuse(s.fused.joined)
	}
}
