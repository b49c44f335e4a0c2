package street

// cycle is how a bicycle looks.
type cycle struct {
	scale       float32 // 1 is a grown-up's
	frame, seat fabric
	carrier     int // 0 none, 1 basket before, 2 box behind
	low         bool
}

func newCycle(l *look, r *random, low, high float32) cycle {
	return cycle{scale: r.between(low, high), frame: l.fabric(r), seat: l.fabric(r), carrier: r.below(4), low: r.chance(.4)}
}

// bicycle adds a bicycle that stands on the pose's origin and rides along its z, and tells where a rider sits.
func (b *builder) bicycle(c *cycle, phase float32, segments int) ride {
	k := c.scale
	at := func(x, y, z float32) vector { return vector{x * k, y * k, z * k} }
	rear, front, crank := at(0, .34, -.52), at(0, .34, .56), at(0, .3, -.06)
	seat, head := at(0, .84, -.24), at(0, .82, .34)
	b.plain([3]float32{.13, .13, .13})
	b.ring(rear, .345*k, .29*k, .05*k, segments)
	b.ring(front, .345*k, .29*k, .05*k, segments)
	b.plain([3]float32{.66, .67, .7})
	if segments > 8 {
		for _, hub := range [2]vector{rear, front} {
			for i := range 5 {
				s, cs := sincos(float32(i)*.628 + phase*1.7)
				d := vector{0, cs * .3 * k, s * .3 * k}
				b.rod(hub.sub(d), hub.add(d), .006*k)
			}
		}
	}
	b.rod(rear.sub(at(.08, 0, 0)), rear.add(at(.08, 0, 0)), .025*k)
	b.rod(front.sub(at(.08, 0, 0)), front.add(at(.08, 0, 0)), .025*k)
	b.paint(c.frame.texture, c.frame.tint, matte)
	tube := .026 * k
	b.rod(crank, seat, tube)
	b.rod(crank, head.sub(at(0, .12, -.04)), tube*1.15)
	if c.low {
		b.rod(crank.lerp(seat, .35), head.sub(at(0, .06, -.02)), tube)
	} else {
		b.rod(crank.lerp(seat, .85), head, tube)
	}
	b.rod(rear, crank, tube*.9)
	b.rod(rear, crank.lerp(seat, .8), tube*.8)
	b.rod(front, head, tube*.95)
	b.plain([3]float32{.3, .3, .31})
	stem := head.add(at(0, .17, -.03))
	b.rod(head, stem, tube)
	b.rod(stem.sub(at(.27, 0, .05)), stem.add(at(.27, 0, -.05)), tube*.8)
	sp, cp := sincos(phase)
	pedals := [2]vector{crank.add(at(-.12, -.17*cp, .17*sp)), crank.add(at(.12, .17*cp, -.17*sp))}
	for _, p := range pedals {
		b.rod(vector{p.x, crank.y, crank.z}, p, tube*.7)
		b.box(p, at(.09, .03, .09))
	}
	b.paint(c.seat.texture, c.seat.tint, matte)
	b.taperedBox(seat.add(at(0, .08, .02)), at(.16, .08, .28), .9, .9)
	b.carrier(c, at)
	return ride{
		hip:   seat.add(at(0, .17, 0)),
		feet:  [2]vector{pedals[0].add(at(0, .05, 0)), pedals[1].add(at(0, .05, 0))},
		hands: [2]vector{stem.add(at(-.26, .02, -.05)), stem.add(at(.26, .02, -.05))}, torsoForward: .2 * k,
	}
}

// carrier adds a basket or a box.
func (b *builder) carrier(c *cycle, at func(x, y, z float32) vector) {
	switch c.carrier {
	case 1:
		b.paint(b.look.wood, c.seat.tint, matte)
		b.taperedBox(at(0, .87, .62), at(.34, .24, .26), 1.15, 1.15)
	case 2:
		b.paint(c.seat.texture, c.seat.tint, matte)
		b.box(at(0, .86, -.58), at(.3, .26, .32))
	}
}
