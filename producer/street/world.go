package street

import "math"

// The street's cross-section, in metres to the right of the line between road and market (before mirroring).
const (
	chunkLength = 12.0 // metres along the street that are built, and forgotten, at once

	leftHouses  = -11.6
	leftKerb    = -8.9 // pavement to its left
	parking     = -7.8 // middle of the parking strip
	oncoming    = -4.9 // middles of the lanes
	along       = -1.9
	cycling     = -.1
	rightKerb   = .5 // the market to its right
	stallFront  = 5.5
	rightHouses = 9.6

	seenAhead, seenBehind = 168, 72 // metres along the street that are built around the camera
	crowdAhead            = 34      // metres along the street that traffic is followed
)

// identity is what an object is.
type identity struct {
	class    int
	instance uint32
}

// world is everything that stands or moves in the street, and the camera in it.
type world struct {
	cfg    Config
	look   *look
	mirror bool // the market is to the left
	mount  mount
	busy   float32
	lanes  []lane
	chunks map[int64]*chunk

	// Of the frame in hand.
	moving  mesh
	pieces  []piece
	still   []piece // scratch of around
	objects []identity
	blobs   []blob
}

// mount is how the camera is held.
type mount struct {
	x, height, yaw, pitch float64
	swing, period, phase  float64 // radians, seconds, radians: of a pan
	speed, bob            float64 // metres per second along the street; metres up and down while riding
	start                 float64
}

func newWorld(cfg Config, l *look) world {
	r := newRandom(l.seed, topicLayout, 0)
	w := world{cfg: cfg, look: l, mirror: r.chance(.5), chunks: map[int64]*chunk{}}
	w.mount = newMount(l)
	w.busy = busy(w.mount)
	w.lanes = newLanes(l, w.mount)
	return w
}

// How high the camera is, in metres: over the heads of most, so that nothing fills the picture.
const lowest, highest = 3, 4.6

// newMount draws where the camera is, and whether it stands, pans or rides.
func newMount(l *look) mount {
	r := newRandom(l.seed, topicCamera, 0)
	degrees := func(low, high float32) float64 { return float64(radians(r.between(low, high))) }
	m := mount{x: float64(r.between(3, 4.4)), height: float64(l.slot(&r, 4, lowest, highest)), yaw: degrees(-26, 8), period: 20, start: float64(r.between(0, 400))}
	if r.chance(.3) {
		m.yaw = degrees(-62, -30) // across the road
	}
	m.pitch = degrees(3, 6) + (m.height-1.3)*degrees(3, 4.5)
	switch r.below(3) {
	case 1:
		m.swing, m.period, m.phase = degrees(6, 20), float64(r.between(12, 26)), degrees(0, 360)
	case 2:
		m.speed, m.bob = float64(r.between(.7, 1.6)), .012
	}
	return m
}

// view is the camera at a time, in seconds.
func (w *world) view(seconds float64) view {
	m := &w.mount
	c := Camera{
		Focal: FocalPerWidth * float64(w.cfg.Width), CX: float64(w.cfg.Width) / 2, CY: float64(w.cfg.Height) / 2,
		X: m.x, Height: m.height + m.bob*math.Sin(seconds*9), Z: m.start + m.speed*seconds,
		Yaw: m.yaw + m.swing*math.Sin(2*math.Pi*seconds/m.period+m.phase), Pitch: m.pitch,
	}
	if w.mirror {
		c.X, c.Yaw = -c.X, -c.Yaw
	}
	v := view{camera: c}
	v.aim(w.cfg.Width, w.cfg.Height, math.Floor(c.Z/chunkLength)*chunkLength)
	return v
}

// place is a pose on the ground; z is relative to what is being built.
func (w *world) place(x, y, z, yaw float32) pose {
	p := upright(vector{x, y, z}, yaw)
	if w.mirror {
		p.x.x, p.y.x, p.z.x, p.at.x = -p.x.x, -p.y.x, -p.z.x, -p.at.x
	}
	return p
}

// gather collects what may be seen, or may cast a shadow on it, at a time.
func (w *world) gather(seconds float64, v *view) {
	w.pieces, w.objects, w.blobs = w.pieces[:0], w.objects[:0], w.blobs[:0]
	w.moving.reset()
	first, last := chunkOf(v.camera.Z-seenBehind), chunkOf(v.camera.Z+seenAhead)
	for i := range w.chunks {
		if i < first-4 || i > last+4 {
			delete(w.chunks, i)
		}
	}
	here := chunkOf(v.camera.Z)
	w.gatherChunk(here, v)
	for d := int64(1); d <= last-first; d++ { // near ones first: what is hidden costs less
		if here+d <= last {
			w.gatherChunk(here+d, v)
		}
		if here-d >= first {
			w.gatherChunk(here-d, v)
		}
	}
	for i := range w.lanes {
		w.gatherLane(&w.lanes[i], seconds, v)
	}
	for i := chunkOf(v.camera.Z - 14); i <= chunkOf(v.camera.Z+crowdAhead); i++ {
		w.gatherStrollers(i, seconds, v)
	}
}

func chunkOf(z float64) int64 { return int64(math.Floor(z / chunkLength)) }

func (w *world) chunk(index int64) *chunk {
	c := w.chunks[index]
	if c == nil {
		c = w.build(index)
		w.chunks[index] = c
	}
	return c
}

func (w *world) gatherChunk(index int64, v *view) {
	c := w.chunk(index)
	offset := vector{0, 0, float32(float64(index)*chunkLength - v.origin)}
	base := int32(len(w.objects))
	w.objects = append(w.objects, c.objects...)
	for _, p := range c.pieces {
		p.offset, p.centre = offset, p.centre.add(offset)
		if p.object > 0 {
			p.object += base
		}
		w.pieces = append(w.pieces, p)
	}
	for _, b := range c.blobs {
		b.at = b.at.add(offset)
		w.blobs = append(w.blobs, b)
	}
}

// around is every piece that never moves from first to last, in metres along the street.
func (w *world) around(first, last, origin float64) []piece {
	w.still = w.still[:0]
	for i := chunkOf(first); i <= chunkOf(last); i++ {
		offset := vector{0, 0, float32(float64(i)*chunkLength - origin)}
		for _, p := range w.chunk(i).pieces {
			p.offset, p.centre = offset, p.centre.add(offset)
			w.still = append(w.still, p)
		}
	}
	return w.still
}

// mark is where a piece begins in its mesh.
type mark struct{ corners, faces int32 }

func (b *builder) mark() mark {
	return mark{int32(len(b.mesh.corners)), int32(len(b.mesh.faces))}
}

// piece is what was built since m.
func (b *builder) piece(m mark, object int32, still bool) piece {
	p := piece{
		mesh: b.mesh, corners: [2]int32{m.corners, int32(len(b.mesh.corners))}, faces: [2]int32{m.faces, int32(len(b.mesh.faces))},
		object: object, still: still,
	}
	low, high := vector{1e9, 1e9, 1e9}, vector{-1e9, -1e9, -1e9}
	for i := m.corners; i < p.corners[1]; i++ {
		c := &b.mesh.corners[i].at
		low = vector{min(low.x, c.x), min(low.y, c.y), min(low.z, c.z)}
		high = vector{max(high.x, c.x), max(high.y, c.y), max(high.z, c.z)}
	}
	p.centre = low.lerp(high, .5)
	p.radius = high.sub(low).length() / 2
	return p
}
