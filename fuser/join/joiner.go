// Package join joins the results of the worker groups by frame ID, of lossless and of live frames, and fuses those of
// one frame into its scene. It is pure: it knows no NATS, and is told the time.
package join

import (
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/spatial-flow/spatial-flow/flow"
)

// Session names one session of one source: the frames that are stored in one order.
type Session struct{ Source, Name string }

// Limits bound what a joiner holds.
type Limits struct {
	Sessions int   // known at once; those with nothing open are forgotten first
	Bytes    int64 // of all results that wait, by the size of their messages
}

// Joiner joins the results of lossless frames by frame ID, and gives the frames out in order, each exactly once.
// It is pure: it knows no NATS and no clock. H is the handle of the message that a result came in; every handle
// that goes in comes out again, from [Joiner.Stored] or [Joiner.Held]. It is not safe for concurrent use.
type Joiner[H any] struct {
	limits   Limits
	leftOut  []string
	sessions map[Session]*session[H]
	bytes    int64
	clock    uint64 // counts Adds: which session was used last
}

type session[H any] struct {
	stored uint64 // seq of the last frame whose scene is stored
	frames map[uint64]*frame[H]
	used   uint64
}

type frame[H any] struct {
	results map[string]*flow.Result
	handles map[handleKey]H
	bytes   int64
}

// A message may be delivered again (same sequence: the newer handle counts) or have been published twice
// (two sequences: both are acked).
type handleKey struct {
	group    string
	sequence uint64
}

// NewJoiner makes an empty joiner. No frame waits for the groups that are left out: it was admitted when they were
// still on, and nobody answers any more.
func NewJoiner[H any](limits Limits, leftOut []string) *Joiner[H] {
	return &Joiner[H]{limits: limits, leftOut: leftOut, sessions: map[Session]*session[H]{}}
}

// Knows says whether the session was opened and is not forgotten.
func (j *Joiner[H]) Knows(s Session) bool { return j.sessions[s] != nil }

// Open makes a session known whose scenes are stored up to the seq stored. Beyond Limits.Sessions a session with nothing
// open is forgotten and returned; [ErrFull] is returned when there is none.
func (j *Joiner[H]) Open(s Session, stored uint64) (forgotten *Session, err error) {
	if len(j.sessions) >= j.limits.Sessions {
		for candidate, state := range j.sessions {
			if len(state.frames) == 0 && (forgotten == nil || state.used < j.sessions[*forgotten].used) {
				forgotten = &candidate
			}
		}
		if forgotten == nil {
			return nil, fmt.Errorf("%w: %d sessions are open", ErrFull, len(j.sessions))
		}
		delete(j.sessions, *forgotten)
	}
	j.clock++
	j.sessions[s] = &session[H]{stored: stored, frames: map[uint64]*frame[H]{}, used: j.clock}
	return forgotten, nil
}

// Add takes a result of an opened session. sequence is its place in its group's stream, size its bytes.
// When the frame's scene is stored already it returns true and keeps nothing: ack the message.
// [ErrFull] is returned, and nothing kept, when there is no room; the results of a session's next frame always
// find room, so the one that all others wait for is never refused.
func (j *Joiner[H]) Add(result *flow.Result, sequence uint64, size int, handle H) (stored bool, err error) {
	state := j.sessions[Session{result.Source, result.Session}]
	j.clock++
	state.used = j.clock
	if result.Seq <= state.stored {
		return true, nil
	}
	f := state.frames[result.Seq]
	if f == nil || f.results[result.Group] == nil {
		if j.bytes+int64(size) > j.limits.Bytes && result.Seq != state.stored+1 {
			return false, fmt.Errorf("%w: %d bytes wait", ErrFull, j.bytes)
		}
		if f == nil {
			f = &frame[H]{results: map[string]*flow.Result{}, handles: map[handleKey]H{}}
			state.frames[result.Seq] = f
		}
		f.results[result.Group] = result
		f.bytes += int64(size)
		j.bytes += int64(size)
	}
	f.handles[handleKey{result.Group, sequence}] = handle
	return false, nil
}

// Next returns the results, in the order of the plan, of a session's next frame, once every group of its plan that is
// not left out has answered; nil before. It returns the same frame until [Joiner.Stored].
func (j *Joiner[H]) Next(s Session) []*flow.Result {
	state := j.sessions[s]
	if state == nil {
		return nil
	}
	f := state.frames[state.stored+1]
	if f == nil {
		return nil
	}
	var results []*flow.Result
	for _, first := range f.results {
		for _, group := range first.Plan {
			switch r := f.results[group]; {
			case r != nil:
				results = append(results, r)
			case !slices.Contains(j.leftOut, group):
				return nil
			}
		}
		break
	}
	return results
}

// Stored says that the scene of the session's next frame is stored, and gives back the handles to ack.
func (j *Joiner[H]) Stored(s Session) []H {
	state := j.sessions[s]
	state.stored++
	f := state.frames[state.stored]
	delete(state.frames, state.stored)
	j.bytes -= f.bytes
	return slices.Collect(maps.Values(f.handles))
}

// Held walks the handles of all results that wait.
func (j *Joiner[H]) Held() iter.Seq[H] {
	return func(yield func(H) bool) {
		for _, state := range j.sessions {
			for _, f := range state.frames {
				for _, handle := range f.handles {
					if !yield(handle) {
						return
					}
				}
			}
		}
	}
}

// Bytes is the size of all results that wait.
func (j *Joiner[H]) Bytes() int64 { return j.bytes }
