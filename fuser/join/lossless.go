package join

import (
	"fmt"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/clock"
)

// Lossless joins the results of one session's frames by frame ID, and gives the frames out in order, each exactly once.
// It is pure: it knows no NATS, and is told the time. H is the handle of the message that a result came in; every handle
// that goes in comes out again, from [Lossless.Stored]. It is not safe for concurrent use.
type Lossless[H any] struct {
	lags   *Lags
	given  uint64 // seq of the last frame that was given out
	stored uint64 // seq of the last frame whose scene is stored; at most given
	frames map[uint64]*frame[H]
}

type frame[H any] struct {
	answers
	handles []H
}

// NewLossless makes the joiner of a session whose scenes are stored up to the seq stored.
func NewLossless[H any](stored uint64, lags *Lags) *Lossless[H] {
	return &Lossless[H]{lags: lags, given: stored, stored: stored, frames: map[uint64]*frame[H]{}}
}

// Add takes a result. When the frame's scene is stored already it returns true and keeps nothing: ack the message.
// [ErrFull] is returned, and nothing kept, when there is no room; the results of the session's next frame always
// find room, so the one that all others wait for is never refused.
func (l *Lossless[H]) Add(result *flow.Result, room bool, handle H, now time.Time) (stored bool, err error) {
	if result.Seq <= l.stored {
		return true, nil
	}
	f := l.frames[result.Seq]
	if !room && result.Seq > l.given+1 && (f == nil || f.results[result.Group] == nil) {
		return false, fmt.Errorf("%w for frame %d, which comes after %d", ErrFull, result.Seq, l.given+1)
	}
	if f == nil {
		f = &frame[H]{answers: newAnswers(now)}
		l.frames[result.Seq] = f
	}
	if f.results[result.Group] == nil {
		l.lags.learn(result, now.Sub(f.first))
	}
	f.add(result)
	f.handles = append(f.handles, handle)
	return false, nil
}

// Next gives out the session's next frame once some plan of it is answered by every group that the frame waits for
// ([Needs]). When it is not given out yet, wake is when it will be without any further answer; zero: not before one comes.
func (l *Lossless[H]) Next(needs Needs, now time.Time) (joined Joined, wake time.Time, ok bool) {
	f := l.frames[l.given+1]
	if f == nil {
		return Joined{}, time.Time{}, false
	}
	var chosen []string
	for _, plan := range f.plans {
		due, possible := l.due(f, plan, needs)
		switch {
		case !possible:
		case due.IsZero():
			l.given++
			return f.joined(plan), time.Time{}, true
		case !now.Before(due) && chosen == nil:
			chosen = plan
		case wake.IsZero() || due.Before(wake):
			wake = due
		}
	}
	if chosen == nil {
		return Joined{}, wake, false
	}
	l.given++
	return f.joined(chosen), time.Time{}, true
}

// due is when a frame of the plan is not held any longer: zero when all have answered. It is not possible while a
// required group has not.
func (l *Lossless[H]) due(f *frame[H], plan []string, needs Needs) (due time.Time, possible bool) {
	for _, group := range plan {
		if f.results[group] != nil {
			continue
		}
		var wait time.Duration
		switch needs[group] {
		case Required:
			return time.Time{}, false
		case Optional:
			wait = l.lags.patience(group)
		case Shadow:
			wait = clock.LeastDeadline
		case Off:
			continue
		}
		if at := f.first.Add(wait); at.After(due) {
			due = at
		}
	}
	return due, true
}

// Stored says that the scene of the first frame that was given out, and is not stored yet, is stored, and gives back the
// handles to ack.
func (l *Lossless[H]) Stored() []H {
	l.stored++
	f := l.frames[l.stored]
	delete(l.frames, l.stored)
	return f.handles
}

// Gap is the first frame that is held, when the session's next one is not; ok is false when that one is, or nothing.
func (l *Lossless[H]) Gap() (first uint64, ok bool) {
	if l.given != l.stored || l.frames[l.given+1] != nil {
		return 0, false
	}
	for seq := range l.frames {
		if first == 0 || seq < first {
			first = seq
		}
	}
	return first, first != 0
}

// Skip has the session go on after the frame of that seq, and gives back the handles of what is held up to it. It is for a
// session without a frame that is given out and not stored ([Lossless.Gap]).
func (l *Lossless[H]) Skip(stored uint64) (handles []H) {
	for seq, f := range l.frames {
		if seq <= stored {
			handles = append(handles, f.handles...)
			delete(l.frames, seq)
		}
	}
	l.given, l.stored = max(l.given, stored), max(l.stored, stored)
	return handles
}
