package session

import (
	"context"
	"errors"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
)

// begin looks where a session goes on of which neither a record nor a scene was found. Its first frame is waited for while
// it may come. When its record is gone, as it was forgotten or is too old, nothing before its first result is stored any more:
// it goes on from there. wake is when there is more to do.
func (s *Session) begin(ctx context.Context, wake time.Time) time.Time {
	first, missing := s.joiner.Gap()
	if !missing {
		s.gap = time.Time{}
		return wake
	}
	now := time.Now()
	if s.gap.IsZero() {
		s.gap = now
	}
	if now.Sub(s.gap) < beginWait {
		return s.gap.Add(beginWait)
	}
	s.gap = now
	stored, err := s.before(ctx, first)
	switch {
	case err != nil:
		s.Log.Warn("session waits for its first frame, and it can't be read whether that may come",
			"source", s.id.Source, "session", s.id.Name, "error", err)
		return now.Add(beginWait)
	case stored == 0:
		s.Log.Info("session waits for frames before the first that is answered", "source", s.id.Source, "session", s.id.Name, "first", first)
		return now.Add(beginWait)
	}
	s.lost = false
	s.Log.Warn("session goes on in its midst: nothing is recorded of it, and nothing stored of what was before",
		"source", s.id.Source, "session", s.id.Name, "after", stored)
	for _, d := range s.joiner.Skip(stored) {
		d.Ack()
	}
	return s.advance(ctx)
}

// before is the frame after which the session goes on; 0 while frames before first may come.
func (s *Session) before(ctx context.Context, first uint64) (stored uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, beginWithin)
	defer cancel()
	position, last, err := s.Scenes.Position(ctx, s.id.Source, s.id.Name)
	switch {
	case err == nil: // the first look was at a replica that was behind, or somebody has begun the session meanwhile
		if last != nil {
			s.stable = last.Range
		}
		return position.Seq, nil
	case !errors.Is(err, bus.ErrNotFound):
		return 0, err
	}
	earlier, err := s.Scenes.StoredBefore(ctx, s.Groups(), s.place, flow.FrameID{Source: s.id.Source, Session: s.id.Name, Seq: first})
	if err != nil || earlier {
		return 0, err
	}
	return first - 1, nil
}
