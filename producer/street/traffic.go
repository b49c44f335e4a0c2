package street

import "math"

// lane is a line along the street on which everything moves at one speed, so that nothing runs into anything. It is
// cut into cells that move with it; what is in a cell is drawn from the lane's number and the cell's.
type lane struct {
	id      uint64
	x       float32
	speed   float64 // metres per second along the street
	cell    float64 // metres
	density float32 // share of the cells that hold something
	kind    int
}

// What moves on a lane.
const (
	walkers = iota
	motors
	cyclists
)

// newLanes draws the traffic: how dense, how fast. Nobody walks where the camera is.
func newLanes(l *look, m mount) []lane {
	r := newRandom(l.seed, topicLane, 0)
	direction := func() float64 {
		if r.chance(.5) {
			return -1
		}
		return 1
	}
	pace := float64(1)
	if r.chance(.3) {
		pace = .25 // a jam
	}
	lanes := []lane{
		{id: 1, x: oncoming, speed: -pace * float64(r.between(3, 6)), cell: 13, density: min(.85, .36*busy(m)), kind: motors},
		{id: 2, x: along, speed: pace * float64(r.between(3, 6)), cell: 13, density: min(.85, .36*busy(m)), kind: motors},
		{id: 3, x: cycling, speed: float64(r.between(2.5, 4.5)), cell: 4, density: .13 * busy(m), kind: cyclists},
	}
	crowd := r.between(.6, 1) * busy(m)
	for i, x := range []float32{1.5, 2.7, 3.9, -9.7, -10.5} {
		speed := direction() * float64(r.between(.7, 1.5))
		density := .05 * crowd * r.between(.6, 1.4)
		if d := float64(x) - m.x; d > -.75 && d < .75 {
			continue
		}
		lanes = append(lanes, lane{id: uint64(10 + i), x: x, speed: speed, cell: 1.45, density: density, kind: walkers})
	}
	return lanes
}

// busy is how much goes on, for as much to be in the picture wherever the camera looks: half along the street, less
// from high up, where less hides, and more when it looks across, where it sees little of the street.
func busy(m mount) float32 {
	across := clamp((float32(math.Abs(m.yaw)-m.swing*.5)-radians(32))/radians(18), 0, 1)
	return .54 - .11*float32(m.height-1.3) + 1.9*across
}

// together is true for the cells, four after each other, in which a lane has a crowd.
func (l *lane) together(seed uint64, cell int64) bool {
	r := newRandom(seed, topicLane+l.id<<8+1, uint64(cell>>2))
	return r.chance(.3)
}

// mover is one thing of a lane that is being built.
type mover struct {
	w        *world
	v        *view
	lane     *lane
	cell     int64
	slot     uint32  // objects of the cell so far
	distance float64 // metres that the lane has moved
}

// gatherLane builds what is on a lane at a time.
func (w *world) gatherLane(l *lane, seconds float64, v *view) {
	distance := l.speed * seconds
	first := int64(math.Floor((v.camera.Z - 14 - distance) / l.cell))
	last := int64(math.Floor((v.camera.Z + crowdAhead - distance) / l.cell))
	for cell := first; cell <= last; cell++ {
		r := newRandom(w.look.seed, topicLane+l.id<<8, uint64(cell))
		density := l.density
		if l.kind == walkers { // people come in groups
			density *= .3
			if l.together(w.look.seed, cell) {
				density = l.density * 3
			}
		}
		if !r.chance(density) {
			continue
		}
		m := mover{w: w, v: v, lane: l, cell: cell, distance: distance}
		z := float32((float64(cell)+.5)*l.cell + distance - v.origin)
		yaw := float32(0)
		if l.speed < 0 {
			yaw = math.Pi
		}
		switch l.kind {
		case walkers:
			m.walker(&r, l.x, z+r.between(-.35, .35), yaw, math.Abs(distance))
		case motors:
			m.motor(&r, z, yaw)
		case cyclists:
			m.cyclist(&r, z+r.between(-.7, .7), yaw)
		}
	}
}

// start begins an object, unless it is neither seen nor near enough to cast a shadow on what is.
func (m *mover) start(p pose, radius float32) (b builder, at mark, distance float32, ok bool) {
	w, v := m.w, m.v
	middle := p.at.add(vector{0, radius * .6, 0})
	d := middle.sub(v.eye)
	distance = d.length()
	if !v.sees(middle, radius) && distance > 12+radius {
		return b, at, 0, false
	}
	b = newBuilder(&w.moving, w.look)
	b.pose = p
	b.sides = sidesAt(distance)
	return b, b.mark(), distance, true
}

// sidesAt is how many sides round things have at a distance, in metres.
func sidesAt(distance float32) int {
	switch {
	case distance < 5:
		return 10
	case distance < 11:
		return 8
	case distance < 24:
		return 6
	}
	return 4
}

// end completes an object.
func (m *mover) end(b *builder, at mark, class int) {
	m.slot++
	instance := uint32(m.lane.id)<<26 | uint32(m.cell&0x3fffff)<<4 | m.slot
	m.w.objects = append(m.w.objects, identity{class, instance})
	m.w.pieces = append(m.w.pieces, b.piece(at, int32(len(m.w.objects)), false))
}

// walker is somebody on foot at x, z who has gone a way, in metres; perhaps pushing a bicycle.
func (m *mover) walker(r *random, x, z, yaw float32, gone float64) {
	f := newFigure(m.w.look, r)
	sway := r.between(-.07, .07)
	pushes := r.chance(.1)
	p := m.w.place(x+sway, groundAt(x), z, yaw)
	phase := float32(math.Mod(gone/float64(.8*f.height)*2*math.Pi, 2*math.Pi)) + r.between(0, 6)
	reach := r.between(-.1, .5)
	turn := r.between(-.5, .5)
	if b, at, _, ok := m.start(p, f.height*.62); ok {
		b.person(&f, stance{phase: phase, walking: 1, reach: max(0, reach-.2), turn: turn})
		m.end(&b, at, Person)
		m.w.blobs = append(m.w.blobs, blobOf(p, .34, .4, .75))
	}
	if pushes {
		c := newCycle(m.w.look, r, .85, 1.15)
		m.cycle(&c, m.beside(p, -r.between(.35, .47), .25), phase)
	}
}

// beside is a pose to the right of and before another.
func (m *mover) beside(p pose, right, before float32) pose {
	p.at = p.at.add(p.x.mul(right)).add(p.z.mul(before))
	return p
}

// cycle adds a bicycle.
func (m *mover) cycle(c *cycle, p pose, phase float32) (ride, bool) {
	b, at, distance, ok := m.start(p, 1.1)
	if !ok {
		return ride{}, false
	}
	seat := b.bicycle(c, phase, segmentsAt(distance))
	m.end(&b, at, Bicycle)
	m.w.blobs = append(m.w.blobs, blobOf(p, .22, .95*c.scale, .5))
	return seat, true
}

// segmentsAt is how many straight pieces a wheel has at a distance, in metres.
func segmentsAt(distance float32) int {
	switch {
	case distance < 7:
		return 18
	case distance < 16:
		return 12
	}
	return 8
}

// cyclist is a bicycle and its rider.
func (m *mover) cyclist(r *random, z, yaw float32) {
	c, f := newCycle(m.w.look, r, .85, 1.15), newFigure(m.w.look, r)
	f.height = clamp(f.height, 1.35*c.scale, 1.8*c.scale)
	p := m.w.place(m.lane.x+r.between(-.2, .2), groundAt(m.lane.x), z, yaw)
	phase := float32(math.Mod(math.Abs(m.distance)/3.2*2*math.Pi, 2*math.Pi)) + r.between(0, 6)
	seat, ok := m.cycle(&c, p, phase)
	if !ok {
		return
	}
	m.onSeat(&f, &seat, p)
}

// onSeat adds somebody who rides.
func (m *mover) onSeat(f *figure, seat *ride, p pose) {
	if b, at, _, ok := m.start(p, 1.9); ok {
		b.rider(f, seat)
		m.end(&b, at, Person)
	}
}

// motor is a car or a bus.
func (m *mover) motor(r *random, z, yaw float32) {
	l := m.w.look
	p := m.w.place(m.lane.x, 0, z+r.between(-.8, .8), yaw)
	if r.chance(.6) {
		car := newCar(l, r)
		if b, at, distance, ok := m.start(p, car.length*.62); ok {
			b.car(&car, segmentsAt(distance))
			m.end(&b, at, Car)
			m.w.blobs = append(m.w.blobs, blobOf(p, car.width*.68, car.length*.6, .95))
		}
		return
	}
	bus := newBus(l, r)
	if b, at, distance, ok := m.start(p, bus.length*.62); ok {
		b.bus(&bus, segmentsAt(distance))
		m.end(&b, at, Bus)
		m.w.blobs = append(m.w.blobs, blobOf(p, bus.width*.66, bus.length*.58, .95))
	}
}

// groundAt is how high the ground is, in metres, at x.
func groundAt(x float32) float32 {
	if x < leftKerb || x > rightKerb {
		return kerbHeight
	}
	return 0
}
