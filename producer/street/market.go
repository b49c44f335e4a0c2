package street

import "math"

// market adds the stalls, who sells, and who looks.
func (s *site) market(r *random) {
	for z := float32(2); z < chunkLength; z += 4 {
		if r.chance(.8) {
			s.stall(r, z+r.between(-.3, .3))
		} else {
			s.thing(r, stallFront+r.between(.3, 1.5), z)
		}
		for i := range 3 {
			if r.chance(.085 * s.busy) {
				s.visitor(r, stallFront-r.between(.5, .75), z+1.1*(float32(i)-1)+r.between(-.2, .2))
			}
		}
		if r.chance(.35) {
			s.thing(r, stallFront-.15, z+1.9)
		}
	}
	if r.chance(.5) {
		s.tree(r, 8.6, r.between(2, 10))
	}
}

// stall adds a counter with an awning; its front looks at the road.
func (s *site) stall(r *random, z float32) {
	b, l := &s.b, s.w.look
	b.pose = s.w.place(stallFront, kerbHeight, z, 0)
	wide := r.between(1.25, 1.55) // half, along the street
	front, awning := l.fabric(r), l.fabric(r)
	height := r.between(2.15, 2.6)
	b.tile = 1
	b.paint(l.wood, [3]float32{.62, .5, .38}, matte)
	wood := b.material
	for _, x := range [2]float32{.05, 1.5} {
		for _, side := range [2]float32{-wide, wide} {
			b.rod(vector{x, 0, side}, vector{x, height, side}, .045)
		}
	}
	b.paint(front.texture, front.tint, matte)
	b.box(vector{.45, .42, 0}, vector{.9, .84, 2*wide - .1})
	b.material = wood
	b.box(vector{.42, .88, 0}, vector{1.05, .06, 2 * wide})
	b.paint(awning.texture, awning.tint, thin)
	b.tile = .8
	drop := r.between(.3, .7)
	p, q := vector{-.55, height - drop, -wide - .15}, vector{-.55, height - drop, wide + .15}
	ridge := vector{2.2, drop + .12, 0}
	b.quad(p, q, q.add(ridge), p.add(ridge), vector{-.3, 1, 0})
	b.quad(p, q, q.sub(vector{0, .24, 0}), p.sub(vector{0, .24, 0}), vector{-1, 0, 0})
	b.shade = .65
	crates := 3 + r.below(2)
	for i := range crates {
		cz := (float32(i)+.5)/float32(crates)*2*wide - wide
		s.crate(r, vector{.3, .92, cz}, vector{.55, .16, 2*wide/float32(crates) - .08})
		if r.chance(.5) {
			s.crate(r, vector{.75, 1.05, cz}, vector{.3, .3, 2*wide/float32(crates) - .12})
		}
	}
	b.shade = 1
	s.blobs = append(s.blobs, blobOf(s.w.place(stallFront+.5, kerbHeight, z, 0), 1, wide*1.25, .8))
	if r.chance(.13 * s.busy) {
		s.standing(r, s.at(stallFront+1.3, z+r.between(-.7, .7), radians(r.between(-110, -70))), 0)
	}
}

// crate adds a box of goods; at is the middle of its bottom.
func (s *site) crate(r *random, at, size vector) {
	b, l := &s.b, s.w.look
	b.tile = 1.5
	b.paint(l.wood, [3]float32{.7, .58, .42}, matte)
	b.box(at.add(vector{0, size.y / 2, 0}), size)
	b.paint(l.fruit, l.tint(r), matte)
	b.tile = 1.6
	b.taperedBox(at.add(vector{0, size.y + .03, 0}), vector{size.x * .9, .07, size.z * .9}, .8, .9)
}

// visitor is somebody before a stall.
func (s *site) visitor(r *random, x, z float32) {
	s.standing(r, s.at(x, z, radians(r.between(40, 140))), r.between(0, .7))
	if r.chance(.3) {
		s.standing(r, s.at(x-r.between(.2, .35), z+r.between(.35, .5), radians(r.between(40, 140))), r.between(0, .7))
	}
}

// standing adds somebody who stands.
func (s *site) standing(r *random, p pose, reach float32) {
	f := newFigure(s.w.look, r)
	b, m := s.body(p)
	b.person(&f, stance{phase: r.between(0, 6), walking: r.between(0, .12), reach: reach, turn: r.between(-.6, .6)})
	s.put(&b, m, Person, p, .34, .34)
}

// kerb adds what stands between road and market: things, bicycles, people who wait.
func (s *site) kerb(r *random) {
	for z := float32(1.5); z < chunkLength; z += 3 {
		x := rightKerb + r.between(.35, .5)
		switch kind := r.unit(); {
		case s.lens(z):
		case kind < .05*s.busy:
			for i := range 1 + r.below(2) {
				s.bicycle(r, s.at(x+.1, z+.5*float32(i), radians(r.between(-25, 25))).leaned(.08))
			}
		case kind < .12*s.busy:
			s.standing(r, s.at(x, z, radians(r.between(-180, 180))), r.between(0, .4))
			if r.chance(.5) {
				s.standing(r, s.at(x+r.between(-.1, .1), z+r.between(.55, .8), radians(r.between(-180, 180))), r.between(0, .4))
			}
		case kind < .8:
			s.thing(r, x, z)
		}
	}
	s.lamp(rightKerb+.32, .1)
	if r.chance(.4) {
		s.pennants(r, .1)
	}
	if r.chance(.4) {
		s.tree(r, leftKerb-.5, r.between(2, 10))
	}
	s.thing(r, leftKerb-.5, r.between(2, 10))
}

// lens tells whether what stands at z would be all that a camera that stays where it is sees.
func (s *site) lens(z float32) bool {
	ahead := float64(s.index)*chunkLength + float64(z) - s.w.mount.start
	return s.w.mount.speed == 0 && ahead > -1 && ahead < 2.6
}

// thing adds something that is no object, in the colours and sizes of those that are.
func (s *site) thing(r *random, x, z float32) {
	b, l := &s.b, s.w.look
	b.pose = s.w.place(x, groundAt(x), z, r.between(-.4, .4))
	b.tile, b.sides = 1.2, 8
	fab, size := l.fabric(r), r.between(.8, 1.25)
	paint := func() { b.paint(fab.texture, fab.tint, matte) }
	reach := float32(.4)
	switch r.below(9) {
	case 0: // crates
		for i := range 1 + r.below(4) {
			s.crate(r, vector{r.between(-.06, .06), float32(i) * .34, r.between(-.06, .06)}, vector{.55, .3, .75})
		}
	case 1: // bollard
		paint()
		b.limb(vector{}, vector{0, .85 * size, 0}, .11, .11, .09, .09)
		b.ball(vector{0, .9 * size, 0}, vector{.12, .12, .12})
	case 2: // bin
		paint()
		b.limb(vector{}, vector{0, .95 * size, 0}, .26*size, .26*size, .3*size, .3*size)
		b.plain([3]float32{.2, .2, .2})
		b.limb(vector{0, .95 * size, 0}, vector{0, 1.03 * size, 0}, .32*size, .32*size, .2*size, .2*size)
	case 3: // plant
		paint()
		b.limb(vector{}, vector{0, .5 * size, 0}, .24*size, .24*size, .34*size, .34*size)
		s.bush(r, vector{0, .85 * size, 0}, .42*size)
	case 4: // sign
		b.plain([3]float32{.5, .5, .5})
		b.rod(vector{}, vector{0, 2.2 * size, 0}, .035)
		paint()
		b.box(vector{0, 2.0 * size, 0}, vector{.55, .55 * size, .04})
	case 5: // umbrella
		b.plain([3]float32{.6, .55, .5})
		b.rod(vector{}, vector{0, 2.4 * size, 0}, .035)
		b.paint(fab.texture, fab.tint, thin)
		b.limb(vector{0, 2.05 * size, 0}, vector{0, 2.5 * size, 0}, .95*size, .95*size, .04, .04)
	case 6: // letter box
		paint()
		b.box(vector{0, .5 * size, 0}, vector{.1, 1 * size, .1})
		b.box(vector{0, 1.15 * size, 0}, vector{.5 * size, .6 * size, .4 * size})
	case 7: // statue
		b.paint(l.pavement, [3]float32{.8, .78, .75}, matte)
		b.taperedBox(vector{0, .35 * size, 0}, vector{.7 * size, .7 * size, .7 * size}, .8, .8)
		paint()
		b.limb(vector{0, .7 * size, 0}, vector{.05, 1.3 * size, 0}, .1, .1, .24, .2)
		b.ball(vector{0, 1.5 * size, 0}, vector{.28 * size, .22 * size, .28 * size})
	default: // board
		paint()
		b.quad(vector{-.35, 0, .3}, vector{.35, 0, .3}, vector{.35, 1.1 * size, .02}, vector{-.35, 1.1 * size, .02}, vector{0, .3, 1})
		b.quad(vector{-.35, 0, -.3}, vector{.35, 0, -.3}, vector{.35, 1.1 * size, -.02}, vector{-.35, 1.1 * size, -.02}, vector{0, .3, -1})
	}
	s.blobs = append(s.blobs, blobOf(b.pose, reach, reach, .8))
}

// bush adds leaves around a point.
func (s *site) bush(r *random, at vector, radius float32) {
	b, l := &s.b, s.w.look
	tint := hsv(r.between(1.2, 2.3), r.between(.35, .65), r.between(.45, .75))
	b.paint(l.leaf, tint, matte)
	for range 3 {
		k := radius * r.between(.6, .9)
		d := vector{r.between(-.5, .5), r.between(-.3, .4), r.between(-.5, .5)}.mul(radius)
		b.ball(at.add(d), vector{k, k * .85, k})
	}
}

// tree adds a tree.
func (s *site) tree(r *random, x, z float32) {
	b, l := &s.b, s.w.look
	b.pose = s.w.place(x, groundAt(x), z, r.between(0, 2*math.Pi))
	b.sides = 8
	height := r.between(2.6, 3.6)
	b.paint(l.wood, [3]float32{.45, .38, .3}, matte)
	b.limb(vector{}, vector{.1, height, 0}, .16, .16, .1, .1)
	for range 3 {
		s.bush(r, vector{r.between(-.7, .7), height + r.between(.2, 1.4), r.between(-.7, .7)}, r.between(.9, 1.3))
	}
	s.blobs = append(s.blobs, blobOf(b.pose, .5, .5, .7))
}

// pennants hangs a line of flags across the market.
func (s *site) pennants(r *random, z float32) {
	b, l := &s.b, s.w.look
	b.pose = s.w.place(0, 0, 0, 0)
	colours := [3]int32{}
	for i := range colours {
		f := l.fabric(r)
		b.paint(f.texture, f.tint, thin)
		colours[i] = b.material
	}
	from, to := vector{rightKerb + .3, 6, z}, vector{rightHouses, r.between(6, 7.4), z + r.between(-3, 3)}
	n := 16
	for i := range n {
		k, next := float32(i)/float32(n), float32(i+1)/float32(n)
		sag := func(k float32) vector { return from.lerp(to, k).sub(vector{0, 2.4 * k * (1 - k), 0}) }
		p, q := sag(k), sag(next)
		b.material = colours[i%3]
		tip := p.lerp(q, .5).sub(vector{0, .42, 0})
		out := vector{0, 0, 1}
		j := b.corner(p, out, 0, 0)
		b.corner(q, out, .4, 0)
		b.corner(tip, out, .2, .4)
		b.triangle(j, j+1, j+2, out)
	}
}

// lamp adds a lamp post.
func (s *site) lamp(x, z float32) {
	b := &s.b
	b.pose = s.w.place(x, groundAt(x), z, 0)
	b.sides = 6
	b.plain([3]float32{.28, .3, .3})
	b.limb(vector{}, vector{0, .5, 0}, .1, .1, .08, .08)
	b.limb(vector{0, .5, 0}, vector{0, 6.1, 0}, .06, .06, .045, .045)
	b.rod(vector{0, 6.05, 0}, vector{-1.1, 6.25, 0}, .035)
	b.box(vector{-1.2, 6.22, 0}, vector{.5, .1, .2})
	s.blobs = append(s.blobs, blobOf(b.pose, .25, .25, .7))
}
