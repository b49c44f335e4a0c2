package street

import "math"

// kerbHeight is how far pavements lie above the road, in metres.
const kerbHeight = .12

// chunk is a stretch of the street: what never moves in it, with z from its own beginning.
type chunk struct {
	scenery mesh
	bodies  mesh
	pieces  []piece
	objects []identity
	blobs   []blob
}

// site is a chunk that is being built.
type site struct {
	*chunk
	w     *world
	index int64
	b     builder // of the scenery
	busy  float32 // how much goes on; 1 is usual
}

// build makes a chunk. It depends on the seed and its index only.
func (w *world) build(index int64) *chunk {
	s := site{chunk: new(chunk), w: w, index: index, busy: min(3, w.busy*w.usual(index))}
	s.b = newBuilder(&s.scenery, w.look)
	r := newRandom(w.look.seed, topicChunk, uint64(index))
	ground := s.b.mark()
	s.ground()
	s.pieces = append(s.pieces, s.b.piece(ground, 0, true))
	left := s.b.mark()
	s.houses(&r, leftHouses, 1)
	s.pieces = append(s.pieces, s.b.piece(left, 0, true))
	right := s.b.mark()
	s.houses(&r, rightHouses, -1)
	s.pieces = append(s.pieces, s.b.piece(right, 0, true))
	things := s.b.mark()
	s.market(&r)
	s.kerb(&r)
	s.parked(&r)
	s.pieces = append(s.pieces, s.b.piece(things, 0, true))
	return s.chunk
}

// at is a pose in the chunk.
func (s *site) at(x, z, yaw float32) pose { return s.w.place(x, groundAt(x), z, yaw) }

// put ends an object that stands there for good.
func (s *site) put(b *builder, m mark, class int, p pose, wide, long float32) {
	instance := uint32(40)<<26 | uint32(s.index&0x3fff)<<8 | uint32(len(s.objects)+1)
	s.objects = append(s.objects, identity{class, instance})
	s.pieces = append(s.pieces, b.piece(m, int32(len(s.objects)), true))
	s.blobs = append(s.blobs, blobOf(p, wide, long, .85))
}

// body begins an object that stands there for good.
func (s *site) body(p pose) (builder, mark) {
	b := newBuilder(&s.bodies, s.w.look)
	b.pose = p
	return b, b.mark()
}

func (s *site) ground() {
	b, l := &s.b, s.w.look
	strip := func(x0, x1, y float32, t *texture, tint [3]float32, tile float32) {
		b.paint(t, tint, ground)
		b.tile = tile
		n := 3
		for i := range n {
			z0, z1 := float32(chunkLength)*float32(i)/float32(n), float32(chunkLength)*float32(i+1)/float32(n)
			b.quad(vector{x0, y, z0}, vector{x1, y, z0}, vector{x1, y, z1}, vector{x0, y, z1}, vector{0, 1, 0})
		}
	}
	b.pose = s.w.place(0, 0, 0, 0)
	r := newRandom(l.seed, topicChunk, 1<<63)
	grey := hsv(r.between(.3, .9), r.between(.02, .14), r.between(.5, .66))
	stone := hsv(r.between(.3, .9), r.between(.03, .2), r.between(.66, .86))
	strip(leftKerb, rightKerb, 0, l.road, grey, .25)
	strip(leftHouses, leftKerb, kerbHeight, l.pavement, stone, 1./3)
	strip(rightKerb, rightHouses+.5, kerbHeight, l.pavement, stone, 1./3)
	b.plain([3]float32{.72, .71, .69})
	b.tile = .5
	b.box(vector{rightKerb, kerbHeight/2 + .005, chunkLength / 2}, vector{.24, kerbHeight + .01, chunkLength})
	b.box(vector{leftKerb, kerbHeight/2 + .005, chunkLength / 2}, vector{.24, kerbHeight + .01, chunkLength})
	own := newRandom(l.seed, topicChunk+1<<8, uint64(s.index))
	if own.chance(.22) {
		s.crossing()
		return
	}
	for i := range 3 { // lines between the lanes
		z := float32(i)*4 + 1
		b.paint(l.plain, [3]float32{.9, .9, .88}, ground)
		x := float32(oncoming+along) / 2
		b.quad(vector{x - .07, .006, z}, vector{x + .07, .006, z}, vector{x + .07, .006, z + 2}, vector{x - .07, .006, z + 2}, vector{0, 1, 0})
	}
}

// crossing paints stripes where people cross the road.
func (s *site) crossing() {
	b := &s.b
	b.paint(s.w.look.plain, [3]float32{.9, .9, .88}, ground)
	for x := float32(leftKerb) + .5; x < rightKerb-.5; x += 1 {
		b.quad(vector{x, .006, 4}, vector{x + .5, .006, 4}, vector{x + .5, .006, 7}, vector{x, .006, 7}, vector{0, 1, 0})
	}
}

// houses adds a row of house fronts; facing is the direction along x that they look.
func (s *site) houses(r *random, x, facing float32) {
	for z := float32(0); z < chunkLength-.1; z += 6 {
		s.house(r, x, facing, z, z+6)
	}
}

func (s *site) house(r *random, x, facing, z0, z1 float32) {
	b, l := &s.b, s.w.look
	b.pose = s.w.place(0, kerbHeight, 0, 0)
	storeys := 2 + r.below(3)
	height := 3.4 + float32(storeys)*3
	b.paint(l.wall[r.below(len(l.wall))], l.stone(r), matte)
	b.tile = 1. / 3
	out := vector{facing, 0, 0}
	back := x - facing*7
	b.quad(vector{x, 0, z0}, vector{x, 0, z1}, vector{x, height, z1}, vector{x, height, z0}, out)
	b.quad(vector{x, 0, z0}, vector{back, 0, z0}, vector{back, height, z0}, vector{x, height, z0}, vector{0, 0, -1})
	b.quad(vector{x, 0, z1}, vector{back, 0, z1}, vector{back, height, z1}, vector{x, height, z1}, vector{0, 0, 1})
	b.plain(l.stone(r))
	trim := b.material
	b.box(vector{x + facing*.12, height + .15, (z0 + z1) / 2}, vector{.5, .3, z1 - z0})
	b.box(vector{x + facing*.06, 3.25, (z0 + z1) / 2}, vector{.2, .22, z1 - z0})
	b.paint(l.wall[r.below(len(l.wall))], hsv(r.between(0, .8), r.between(.2, .6), r.between(.35, .6)), matte)
	b.quad(vector{x + facing*.3, height + .3, z0}, vector{x + facing*.3, height + .3, z1}, vector{x - facing*4, height + 2.8, z1}, vector{x - facing*4, height + 2.8, z0}, vector{facing, 1.5, 0})
	frame := l.stone(r)
	columns := 2 + r.below(2)
	shutters := r.chance(.4)
	colour := l.tint(r)
	b.plain(frame)
	frames := b.material
	b.paint(l.glass, [3]float32{.5, .56, .62}, matte)
	glass := b.material
	b.plain(colour)
	shutter := b.material
	for storey := range storeys {
		y := 4.1 + float32(storey)*3
		for i := range columns {
			z := z0 + (z1-z0)*(float32(i)+.5)/float32(columns)
			b.material = frames
			b.box(vector{x + facing*.01, y + .8, z}, vector{.12, 1.8, 1.2})
			b.material = glass
			b.tile = .7
			b.pane(x+facing*.08, facing, y+.05, y+1.55, z-.46, z-.03)
			b.pane(x+facing*.08, facing, y+.05, y+1.55, z+.03, z+.46)
			b.material = trim
			b.box(vector{x + facing*.12, y - .16, z}, vector{.3, .1, 1.4})
			if shutters {
				b.material = shutter
				b.box(vector{x + facing*.03, y + .8, z - .85}, vector{.06, 1.7, .46})
				b.box(vector{x + facing*.03, y + .8, z + .85}, vector{.06, 1.7, .46})
			}
		}
	}
	s.shop(r, x, facing, z0, z1)
}

// stone is a colour of houses.
func (l *look) stone(r *random) [3]float32 {
	return hsv(l.slot(r, 6, .1, 1.1), r.between(.05, .4), l.slot(r, 4, .62, .98))
}

// pane is a window that looks along x.
func (b *builder) pane(x, facing, y0, y1, z0, z1 float32) {
	b.quadTiled(vector{x, y0, z0}, vector{x, y0, z1}, vector{x, y1, z1}, vector{x, y1, z0}, vector{facing, 0, 0}, .7, .9)
}

// shop adds the ground floor: door, window, sign, sometimes an awning.
func (s *site) shop(r *random, x, facing, z0, z1 float32) {
	b, l := &s.b, s.w.look
	board := l.fabric(r)
	b.paint(l.wood, l.tint(r), matte)
	b.tile = .5
	b.box(vector{x + facing*.03, 1.3, z0 + 1}, vector{.1, 2.6, 1.2})
	b.paint(l.glass, [3]float32{.42, .46, .5}, matte)
	b.pane(x+facing*.09, facing, 1.2, 2.3, z0+.65, z0+1.35)
	b.plain(l.stone(r))
	b.box(vector{x + facing*.03, 1.45, z0 + 3.7}, vector{.1, 2.2, 3.4})
	b.paint(l.glass, [3]float32{.5, .55, .6}, matte)
	b.tile = .35
	b.pane(x+facing*.09, facing, .55, 2.4, z0+2.15, z0+3.65)
	b.pane(x+facing*.09, facing, .55, 2.4, z0+3.75, z0+5.25)
	b.paint(board.texture, board.tint, matte)
	b.box(vector{x + facing*.1, 2.85, (z0 + z1) / 2}, vector{.16, .5, z1 - z0 - .6})
	if r.chance(.45) {
		cloth := l.fabric(r)
		b.paint(cloth.texture, cloth.tint, thin)
		p, q := vector{x + facing*.1, 3.0, z0 + 1.9}, vector{x + facing*.1, 3.0, z0 + 5.5}
		d := vector{facing * 1.2, -.6, 0}
		b.quad(p, q, q.add(d), p.add(d), vector{facing, 2, 0})
		b.quad(p.add(d), q.add(d), q.add(d).add(vector{0, -.22, 0}), p.add(d).add(vector{0, -.22, 0}), vector{facing, 0, 0})
	}
}

// parked adds what stands in the parking strip.
func (s *site) parked(r *random) {
	l := s.w.look
	for z := float32(3); z < chunkLength; z += 6 {
		kind, yaw := r.unit(), float32(0)
		if r.chance(.2) {
			yaw = math.Pi
		}
		switch {
		case kind < .2*s.busy:
			p := s.at(parking, z+r.between(-.4, .4), yaw+r.between(-.05, .05))
			car := newCar(l, r)
			b, m := s.body(p)
			b.car(&car, 12)
			s.put(&b, m, Car, p, car.width*.66, car.length*.58)
		case kind < .3*s.busy:
			for i := range 1 + r.below(4) {
				p := s.at(parking+r.between(-.2, .2), z+.9*(float32(i)-1.5), radians(r.between(60, 110)))
				s.bicycle(r, p.leaned(.1))
			}
		}
	}
}

func (s *site) bicycle(r *random, p pose) {
	c := newCycle(s.w.look, r, .8, 1.15)
	b, m := s.body(p)
	b.bicycle(&c, r.between(0, 6), 14)
	s.put(&b, m, Bicycle, p, .24, .95*c.scale)
}
