package street

import "math"

// stroll is the way of somebody who walks to and fro between two points, and turns around at both.
type stroll struct {
	x, z, yaw     float32 // where it begins, and which way it goes; z is of the chunk
	length, speed float64 // metres, metres per second
	phase         float64 // seconds
}

// usual is how much goes on in a chunk, 1 on average: before a camera that stays where it is more than far away.
func (w *world) usual(index int64) float32 {
	ahead := float64(index)*chunkLength - w.mount.start
	switch {
	case w.mount.speed != 0:
		return 1
	case ahead > -chunkLength && ahead < 14:
		return 3
	case ahead > -2*chunkLength && ahead < 28:
		return .7
	case ahead < 40:
		return .15
	}
	return .04
}

const turning = .9 // seconds

// at is where somebody is after some time, which way that looks, and how far that has gone.
func (s *stroll) at(seconds float64) (x, z, yaw float32, gone float64) {
	there := s.length / s.speed
	round := 2 * (there + turning)
	laps := math.Floor((seconds + s.phase) / round)
	t := seconds + s.phase - laps*round
	gone = laps * 2 * s.length
	along, yaw := 0., s.yaw
	switch {
	case t < there:
		along = t * s.speed
		gone += along
	case t < there+turning:
		gone += s.length
		along, yaw = s.length, s.yaw+math.Pi*float32((t-there)/turning)
	case t < 2*there+turning:
		along, yaw = s.length-(t-there-turning)*s.speed, s.yaw+math.Pi
		gone += 2*s.length - along
	default:
		yaw = s.yaw + math.Pi + math.Pi*float32((t-2*there-turning)/turning)
		gone += 2 * s.length
	}
	sin, cos := sincos(s.yaw)
	return s.x + sin*float32(along), s.z + cos*float32(along), yaw, gone
}

// gatherStrollers builds who strolls in a chunk of the market at a time.
func (w *world) gatherStrollers(index int64, seconds float64, v *view) {
	r := newRandom(w.look.seed, topicStroll, uint64(index))
	usual := w.usual(index)
	l := lane{id: 39}
	for slot := range 7 {
		key := r.next()
		if !r.chance(.2 * usual) {
			continue
		}
		own := newRandom(key, topicStroll, 0)
		s, ok := w.newStroll(&own, float64(index)*chunkLength)
		if !ok {
			continue
		}
		x, z, yaw, gone := s.at(seconds)
		m := mover{w: w, v: v, lane: &l, cell: index&0x3ffff<<3 | int64(slot)}
		z += float32(float64(index)*chunkLength - v.origin)
		m.walker(&own, x, z, yaw, gone)
		sin, cos := sincos(s.yaw)
		for side := float32(0); side < 1 && own.chance(.75); { // in company
			side += own.between(.36, .46)
			m.walker(&own, x+cos*side, z-sin*side, yaw, gone)
		}
	}
}

// newStroll draws a way that doesn't lead through the camera; start is where the chunk begins, in metres.
func (w *world) newStroll(r *random, start float64) (s stroll, ok bool) {
	s = stroll{speed: float64(r.between(.7, 1.35)), phase: float64(r.between(0, 60)), z: r.between(0, chunkLength)}
	if w.mount.speed == 0 && r.chance(.45) { // across the market
		s.x, s.yaw, s.length = 1.4, math.Pi/2, float64(r.between(2, 3.4))
		ahead := start + float64(s.z) - w.mount.start
		return s, ahead < -1.5 || ahead > 2.6
	}
	s.length = float64(r.between(3, 9))
	s.x = []float32{2.1, 3.3, 4.5}[r.below(3)]
	d := float64(s.x) - w.mount.x
	return s, d < -.75 || d > .75
}
