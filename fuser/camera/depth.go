package camera

import (
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/fuser/join"
)

// maxSessions is how many sessions of a camera are told apart. There is one at a time, and a second while producers
// change; more are two producers that contend for the name.
const maxSessions = 4

// depth is the newest depth map of a session, and its stable range.
type depth struct {
	session  string
	stable   *depthmap.Range
	newest   uint64        // seq of the session's newest map; 0: it had none
	seq      uint64        // of the frame that shape belongs to, be it of the session before
	captured int64         // UTC, nanoseconds
	shape    *depthmap.Map // without its data; nil: no map yet, or none that is young enough to be lent
	samples  []uint16
	heard    time.Time
}

// depths is what is known of a camera's depth, by session.
type depths struct{ sessions []*depth } // the one that was heard last is the last

// session finds or makes a session's depth. A new session goes on with the range and the map of the one heard last: it is
// the same camera. The one silent longest is forgotten when there are too many.
func (d *depths) session(name string, now time.Time) *depth {
	var of *depth
	for i, known := range d.sessions {
		if known.session == name {
			of = known
			d.sessions = append(d.sessions[:i], d.sessions[i+1:]...)
			break
		}
	}
	if of == nil {
		of = &depth{session: name}
		if n := len(d.sessions); n > 0 {
			last := d.sessions[n-1]
			of.stable = last.stable
			of.lent(last)
		}
		if len(d.sessions) >= maxSessions {
			d.sessions = d.sessions[1:]
		}
	}
	of.heard = now
	d.sessions = append(d.sessions, of)
	return of
}

// tidyAt is when the next map is too old to be lent, for it was not heard of for so long; zero: there is none.
func (d *depths) tidyAt(silent time.Duration) (at time.Time) {
	if d == nil {
		return at
	}
	for _, of := range d.sessions {
		if ends := of.heard.Add(silent); of.shape != nil && (at.IsZero() || ends.Before(at)) {
			at = ends
		}
	}
	return at
}

// tidy frees the maps that are too old to be lent.
func (d *depths) tidy(now time.Time, silent time.Duration) {
	if d == nil {
		return
	}
	for _, of := range d.sessions {
		if now.Sub(of.heard) >= silent {
			of.shape, of.samples = nil, nil
		}
	}
}

// lent begins with the map of the session before.
func (d *depth) lent(before *depth) {
	if before.shape != nil {
		d.seq, d.captured, d.shape, d.samples = before.seq, before.captured, before.shape, append([]uint16(nil), before.samples...)
	}
}

// keep makes a map the newest; samples are copied.
func (d *depth) keep(seq uint64, captured int64, m *depthmap.Map, samples []uint16) {
	shape := *m
	shape.Data = nil
	d.newest, d.seq, d.captured = seq, seq, captured
	d.shape, d.samples = &shape, append(d.samples[:0], samples...)
}

// lend gives a scene without a depth map the nearness of its boxes in the newest one, if that is no older than most.
func (d *depth) lend(scene *flow.Scene, most time.Duration) {
	age := time.Duration(scene.Captured - d.captured)
	if d.shape == nil || d.stable == nil || age < 0 || age > most {
		return
	}
	scene.Held = &flow.Held{Seq: d.seq, Age: age}
	join.Measure(scene, d.shape, d.samples)
}
