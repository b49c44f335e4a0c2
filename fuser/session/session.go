// Package session joins the results of the lossless sessions of a partition, and stores their scenes in frame order.
package session

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/fuser/delivery"
	"github.com/spatial-flow/spatial-flow/fuser/join"
	"github.com/spatial-flow/spatial-flow/fuser/metrics"
)

const (
	holdEvery   = time.Second // InProgress of held results; AckWait is 3 s
	retryWait   = 20 * time.Millisecond
	retryMax    = 200 * time.Millisecond
	refusedWait = time.Second // before a result that found no room comes again
)

// Bus is where scenes and positions are stored.
type Bus interface {
	Position(ctx context.Context, source, session string) (position flow.Position, last *flow.Scene, err error)
	SetPosition(ctx context.Context, source, session string, position flow.Position) error
	PublishScene(ctx context.Context, scene *flow.Scene) error
	PublishDone(stage, source string, done flow.Done) error
}

// Sessions are the lossless sessions of a partition: their joiner, stable ranges and positions. They belong to the
// partition's goroutine.
type Sessions struct {
	bus       Bus
	log       *slog.Logger
	metrics   metrics.Metrics
	hold      func() // is called while a scene is tried to be stored
	joiner    *join.Joiner[jetstream.Msg]
	unpacker  depthmap.Unpacker
	ranges    map[join.Session]*depthmap.Range
	positions map[join.Session]flow.Position // to be written
}

// New makes the sessions of one partition. No frame waits for the groups that are left out.
func New(b Bus, log *slog.Logger, m metrics.Metrics, limits join.Limits, leftOut []string, hold func()) *Sessions {
	return &Sessions{
		bus: b, log: log, metrics: m, hold: hold, joiner: join.NewJoiner[jetstream.Msg](limits, leftOut),
		ranges: map[join.Session]*depthmap.Range{}, positions: map[join.Session]flow.Position{},
	}
}

// Held walks the messages of all results that wait.
func (s *Sessions) Held() iter.Seq[jetstream.Msg] { return s.joiner.Held() }

// Add takes a result, and stores the scenes that it completes.
func (s *Sessions) Add(ctx context.Context, t delivery.Delivery) {
	session := join.Session{Source: t.Result.Source, Name: t.Result.Session}
	stored, err := false, s.open(ctx, session)
	if err == nil {
		stored, err = s.joiner.Add(t.Result, t.Sequence, len(t.Msg.Data()), t.Msg)
	}
	switch {
	case err != nil:
		if !errors.Is(err, join.ErrFull) && ctx.Err() == nil {
			s.log.Warn("result put back", "frame", t.Result.ID().String(), "error", err)
		}
		_ = t.Msg.NakWithDelay(refusedWait) // unheard it comes again after AckWait
		return
	case stored:
		_ = t.Msg.Ack() // unheard it comes again, and is acked again
		return
	}
	for results := s.joiner.Next(session); results != nil; results = s.joiner.Next(session) {
		if !s.store(ctx, session, results) {
			return
		}
	}
}

// open makes a session known to the joiner: where it stands, and its stable range, are with the stored scenes.
func (s *Sessions) open(ctx context.Context, session join.Session) error {
	if s.joiner.Knows(session) {
		return nil
	}
	position, last, err := s.bus.Position(ctx, session.Source, session.Name)
	if err != nil && !errors.Is(err, bus.ErrNotFound) {
		return err
	}
	forgotten, err := s.joiner.Open(session, position.Seq)
	if err != nil {
		return err
	}
	if forgotten != nil {
		s.WritePositions(ctx)
		delete(s.ranges, *forgotten)
	}
	if last != nil && last.Range != nil {
		s.ranges[session] = last.Range
	}
	return nil
}

// store fuses the session's next frame, stores its scene, and acks its results after that; false when ctx ended before.
func (s *Sessions) store(ctx context.Context, session join.Session, results []*flow.Result) bool {
	begin := time.Now()
	scene := join.Fuse(results, s.ranges[session], &s.unpacker, begin)
	joined := time.Now()
	scene.Ledger[len(scene.Ledger)-1].Work = joined.Sub(begin)
	s.metrics.Seconds.WithLabelValues("join").Observe(joined.Sub(begin).Seconds())
	if !s.publish(ctx, scene) {
		return false
	}
	s.metrics.Seconds.WithLabelValues("publish").Observe(time.Since(joined).Seconds())
	for _, msg := range s.joiner.Stored(session) {
		_ = msg.Ack() // unheard it comes again, and is acked as stored
	}
	s.ranges[session], s.positions[session] = scene.Range, flow.Position{Seq: scene.Seq, Partition: scene.Place()}
	hop := scene.Ledger[len(scene.Ledger)-1]
	done := flow.Done{Version: scene.Version, Session: scene.Session, Seq: scene.Seq, Wait: hop.Wait, Work: hop.Work, Outcome: scene.Outcome}
	if err := s.bus.PublishDone(join.Stage, scene.Source, done); err != nil {
		s.log.Debug("done not sent", "error", err) // the producer looks the scene up
	}
	s.metrics.Scenes.Add()
	return true
}

// publish stores the scene, however long it takes; false when ctx ended before. A scene that is stored already
// (the answer was lost, or another fuser was faster) is as good.
func (s *Sessions) publish(ctx context.Context, scene *flow.Scene) bool {
	wait, held := retryWait, time.Now()
	for ctx.Err() == nil {
		// A stop lets the publish in hand end, in its own time: a scene that is stored gets its done and its position.
		err := s.bus.PublishScene(context.WithoutCancel(ctx), scene)
		switch {
		case err == nil, errors.Is(err, bus.ErrStored):
			return true
		case errors.Is(err, bus.ErrTooLarge):
			if scene.Outcome, scene.Errors = flow.OutcomeError, map[string]string{join.Stage: err.Error()}; scene.Depth == nil {
				scene.Detections = []flow.Detection{}
			}
			scene.Depth = nil
			continue
		}
		s.log.Warn("scene not stored yet", "frame", scene.ID().String(), "error", err)
		if time.Since(held) > holdEvery {
			s.hold()
			held = time.Now()
		}
		clock.Sleep(ctx, wait)
		wait = min(2*wait, retryMax)
	}
	return false
}

// WritePositions writes the positions that changed; what fails is tried again with the next tick.
func (s *Sessions) WritePositions(ctx context.Context) {
	for session, seq := range s.positions {
		if err := s.bus.SetPosition(ctx, session.Source, session.Name, seq); err != nil {
			s.log.Debug("position not written", "error", err)
			return
		}
		delete(s.positions, session)
	}
}
