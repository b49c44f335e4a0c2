package street

import "math"

// fabric is a pattern and a colour.
type fabric struct {
	texture *texture
	tint    [3]float32
}

// fabric draws what clothes, paint and fur are made of alike: no class is told by it.
func (l *look) fabric(r *random) fabric {
	return fabric{l.cloth[r.below(len(l.cloth))], l.tint(r)}
}

// What somebody may wear on the legs, on the head, and carry.
const (
	trousers = iota
	shorts
	skirt
	coat
	legwear
)

// figure is how somebody looks.
type figure struct {
	height, girth          float32 // metres; 1 is usual
	skin, hair             [3]float32
	top, bottom, shoe, hat fabric
	legs                   int
	sleeves                bool // long ones
	head                   int  // 0 bare, 1 cap, 2 brim, 3 long hair, 4 bare and bald
	bag                    int  // 0 none, 1 on the back, 2 in the hand, 3 at the side
	bagOf                  fabric
	swing                  float32
}

// newFigure draws somebody: children to tall adults, slim to stout.
func newFigure(l *look, r *random) figure {
	f := figure{height: r.between(1.5, 1.95), girth: r.between(.84, 1.25)}
	if r.chance(.16) {
		f.height = r.between(.95, 1.5)
	}
	dark := l.slot(r, 5, 0, 1)
	f.skin = [3]float32{.93 - .5*dark, .76 - .47*dark, .66 - .45*dark}
	f.hair = hsv(l.slot(r, 3, .2, .8), r.between(.1, .6), l.slot(r, 4, .12, .7))
	f.top, f.bottom, f.shoe, f.hat = l.fabric(r), l.fabric(r), l.fabric(r), l.fabric(r)
	f.legs = r.below(legwear + 2)
	if f.legs >= legwear {
		f.legs = trousers
	}
	f.sleeves = r.chance(.6) || f.legs == coat
	f.head, f.bag = r.below(5), r.below(6)
	f.bagOf = l.fabric(r)
	f.swing = r.between(.8, 1.2)
	return f
}

// stance is what somebody does.
type stance struct {
	phase   float32 // of the walk, or of the pedals, radians
	walking float32 // 0 stands, 1 walks
	reach   float32 // of the hands to the front: 0 hanging, 1 level
	turn    float32 // of the head, radians
}

// ride is where the saddle, the pedals and the grips are, in the pose of the vehicle.
type ride struct {
	hip          vector
	feet, hands  [2]vector
	torsoForward float32 // metres that the shoulders are before the hips
}

// person adds somebody who stands or walks at the pose's origin and looks along its z.
func (b *builder) person(f *figure, s stance) {
	h, g := f.height, f.girth
	sin, cos := sincos(s.phase)
	bob := .012 * h * s.walking * float32(math.Abs(float64(cos)))
	hip := .5*h + bob - .012*h*s.walking
	lengthThigh, lengthShin := .245*h, .225*h
	var knees, ankles [2]vector
	for side, sign := range [2]float32{-1, 1} {
		swing := sign * sin * .48 * s.walking * f.swing
		bend := s.walking * max(0, sign*cos) * .85
		a, ca := sincos(swing)
		k, ck := sincos(swing - bend)
		x := sign * .055 * h * (.6 + .4*g)
		knees[side] = vector{x, hip - ca*lengthThigh, a * lengthThigh}
		ankles[side] = knees[side].add(vector{0, -ck * lengthShin, k * lengthShin})
		ankles[side].y = max(ankles[side].y, .03*h)
	}
	b.legs(f, hip, knees, ankles)
	shoulder := hip + .325*h
	b.torso(f, vector{0, hip, 0}, vector{0, shoulder, .01 * h})
	for side, sign := range [2]float32{-1, 1} {
		swing := -sign*sin*.5*s.walking*f.swing + s.reach*1.1
		a, ca := sincos(swing)
		k, ck := sincos(swing + .25 + .5*s.reach)
		top := vector{sign * .115 * h * (.55 + .45*g), shoulder - .025*h, 0}
		elbow := top.add(vector{sign * .02 * h, -ca * .165 * h, a * .165 * h})
		hand := elbow.add(vector{-sign * .008 * h, -ck * .17 * h, k * .17 * h})
		b.arm(f, top, elbow, hand)
		if f.bag == 2 && side == 1 {
			b.paint(f.bagOf.texture, f.bagOf.tint, matte)
			b.box(hand.sub(vector{0, .1 * h, 0}), vector{.05 * h, .16 * h, .16 * h})
		}
	}
	b.head(f, vector{0, shoulder, .01 * h}, s.turn)
	b.bag(f, hip, shoulder)
}

// rider adds somebody who sits on something.
func (b *builder) rider(f *figure, r *ride) {
	h := f.height
	var knees, ankles [2]vector
	for i := range knees {
		hip := r.hip.add(vector{float32(2*i-1) * .055 * h, 0, 0})
		knees[i] = joint(hip, r.feet[i], .245*h, .235*h, vector{0, .3, 1})
		ankles[i] = r.feet[i]
	}
	hip := r.hip
	shoulder := hip.add(vector{0, sqrt(max(.01, .32*.32*h*h-r.torsoForward*r.torsoForward)), r.torsoForward})
	b.legsFrom(f, hip, knees, ankles)
	b.torso(f, hip, shoulder)
	for i, sign := range [2]float32{-1, 1} {
		top := shoulder.add(vector{sign * .115 * h, -.025 * h, 0})
		b.arm(f, top, joint(top, r.hands[i], .165*h, .18*h, vector{sign * .5, -1, -.3}), r.hands[i])
	}
	b.head(f, shoulder, 0)
	if f.bag == 1 {
		b.paint(f.bagOf.texture, f.bagOf.tint, matte)
		middle := hip.lerp(shoulder, .6)
		b.box(middle.sub(vector{0, 0, .13 * h}), vector{.17 * h, .24 * h, .1 * h})
	}
}

// joint is the knee or elbow between two points, bent towards bend.
func joint(from, to vector, upper, lower float32, bend vector) vector {
	d := to.sub(from)
	length := clamp(d.length(), .05, (upper+lower)*.999)
	along := (length*length + upper*upper - lower*lower) / (2 * length)
	off := sqrt(max(0, upper*upper-along*along))
	axis := d.unit()
	bend = bend.sub(axis.mul(bend.dot(axis))).unit()
	return from.add(axis.mul(along)).add(bend.mul(off))
}

func (b *builder) legs(f *figure, hip float32, knees, ankles [2]vector) {
	b.legsFrom(f, vector{0, hip, 0}, knees, ankles)
}

// legsFrom adds legs, shoes, and the skirt or the coat over them.
func (b *builder) legsFrom(f *figure, hip vector, knees, ankles [2]vector) {
	h, g := f.height, f.girth
	thigh, knee, ankle := .05*h*g, .035*h*(.5+.5*g), .024*h
	b.paint(f.bottom.texture, f.bottom.tint, matte)
	cloth := b.material
	b.plain(f.skin)
	skin := b.material
	for i := range knees {
		top := hip.add(vector{float32(2*i-1) * .05 * h * (.6 + .4*g), 0, 0})
		b.material = cloth
		b.limb(top, knees[i], thigh, thigh*1.1, knee, knee)
		if f.legs != trousers {
			b.material = skin
		}
		b.limb(knees[i], ankles[i], knee, knee, ankle, ankle)
	}
	b.paint(f.shoe.texture, f.shoe.tint, matte)
	for _, a := range ankles {
		b.box(a.add(vector{0, -.004 * h, .03 * h}), vector{.05 * h, .05 * h, .14 * h})
	}
	if f.legs == skirt || f.legs == coat {
		length, wide := float32(.2), float32(.13)
		fab := f.bottom
		if f.legs == coat {
			length, wide, fab = .3, .12, f.top
		}
		b.paint(fab.texture, fab.tint, matte)
		middle := knees[0].lerp(knees[1], .5)
		hem := hip.lerp(middle, length/.245)
		spread := max(knees[0].z-knees[1].z, knees[1].z-knees[0].z) / 2
		b.limb(hip.add(vector{0, .02 * h, 0}), hem, .09*h*g, .075*h*g, wide*h*g, wide*.75*h*g+spread)
	}
}

func (b *builder) torso(f *figure, hip, shoulder vector) {
	h, g := f.height, f.girth
	b.paint(f.top.texture, f.top.tint, matte)
	tile := b.tile
	b.tile = 2.2
	waist := hip.lerp(shoulder, .35)
	b.limb(hip.sub(vector{0, .03 * h, 0}), waist, .092*h*g, .07*h*g, .085*h*g, .066*h*g)
	chest := hip.lerp(shoulder, .86)
	b.limb(waist, chest, .085*h*g, .066*h*g, .108*h*(.55+.45*g), .068*h*g)
	b.limb(chest, shoulder, .108*h*(.55+.45*g), .068*h*g, .05*h, .042*h)
	b.tile = tile
}

func (b *builder) arm(f *figure, shoulder, elbow, hand vector) {
	h := f.height
	thick := .03 * h * (.5 + .5*f.girth)
	b.paint(f.top.texture, f.top.tint, matte)
	b.limb(shoulder, elbow, thick*1.15, thick*1.15, thick, thick)
	if b.sides > 6 {
		b.ball(shoulder, vector{thick * 1.25, thick * 1.25, thick * 1.25})
	}
	sleeve := b.material
	b.plain(f.skin)
	skin := b.material
	if f.sleeves {
		b.material = sleeve
	}
	b.limb(elbow, hand, thick*.9, thick*.9, thick*.7, thick*.7)
	b.material = skin
	b.ball(hand, vector{.02 * h, .03 * h, .022 * h})
}

// head adds neck, head, hair and hat above the shoulders.
func (b *builder) head(f *figure, shoulder vector, turn float32) {
	h := min(f.height, 1.35+.3*(f.height-1.35)) // a child's head is large
	b.plain(f.skin)
	skin := b.material
	neck := shoulder.add(vector{0, .03 * f.height, .005 * h})
	b.limb(shoulder.sub(vector{0, .01 * h, 0}), neck, .034*h, .034*h, .03*h, .03*h)
	sin, cos := sincos(turn)
	front := vector{sin, 0, cos}
	middle := neck.add(vector{0, .07 * h, 0}).add(front.mul(.012 * h))
	b.material = skin
	b.ball(middle, vector{.058 * h, .078 * h, .066 * h})
	b.ball(middle.add(front.mul(.066*h)).add(vector{0, -.01 * h, 0}), vector{.012 * h, .016 * h, .014 * h})
	if b.sides > 6 { // eyes and mouth
		b.plain([3]float32{.16, .13, .12})
		side := vector{cos, 0, -sin}
		for _, k := range [2]float32{-.024, .024} {
			b.ball(middle.add(front.mul(.058*h)).add(side.mul(k*h)).add(vector{0, .012 * h, 0}), vector{.009 * h, .007 * h, .009 * h})
		}
		b.plain([3]float32{f.skin[0] * .8, f.skin[1] * .6, f.skin[2] * .6})
		b.ball(middle.add(front.mul(.055*h)).sub(vector{0, .04 * h, 0}), vector{.02 * h, .006 * h, .008 * h})
	}
	if f.head != 4 {
		b.plain(f.hair)
		b.ball(middle.sub(front.mul(.018*h)).add(vector{0, .018 * h, 0}), vector{.064 * h, .074 * h, .064 * h})
	}
	switch f.head {
	case 1, 2:
		b.paint(f.hat.texture, f.hat.tint, matte)
		b.ball(middle.add(vector{0, .045 * h, 0}), vector{.068 * h, .055 * h, .074 * h})
		brim := middle.add(vector{0, .045 * h, 0})
		if f.head == 1 {
			b.box(brim.add(front.mul(.08*h)), vector{.1 * h, .012 * h, .08 * h})
		} else {
			b.limb(brim, brim.add(vector{0, .012 * h, 0}), .12*h, .12*h, .11*h, .11*h)
		}
	case 3:
		back := middle.sub(front.mul(.045 * h))
		b.limb(back, back.sub(vector{0, .15 * h, 0}), .06*h, .045*h, .045*h, .025*h)
	}
}

// bag adds what is carried on the back or at the side.
func (b *builder) bag(f *figure, hip, shoulder float32) {
	h := f.height
	b.paint(f.bagOf.texture, f.bagOf.tint, matte)
	switch f.bag {
	case 1:
		b.taperedBox(vector{0, hip + .18*h, -.115 * h}, vector{.18 * h, .26 * h, .1 * h}, .8, .7)
	case 3:
		b.box(vector{-.15 * h * f.girth, hip + .01*h, 0}, vector{.06 * h, .14 * h, .18 * h})
		b.rod(vector{-.14 * h, hip + .08*h, 0}, vector{.06 * h, shoulder, .02 * h}, .008*h)
	}
}
