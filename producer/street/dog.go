package street

// hound is how a dog looks.
type hound struct {
	height, length, girth float32 // metres at the withers, chest to rump; 1 is usual
	fur, patch            fabric
	ears, tail            int // 0 up, 1 hanging; 0 up, 1 level, 2 hanging
	snout                 float32
	collar                [3]float32
}

func newHound(l *look, r *random) hound {
	height := r.between(.5, .92)
	return hound{
		height: height, length: height * r.between(1.05, 1.35), girth: r.between(.85, 1.2), fur: l.fabric(r), patch: l.fabric(r),
		ears: r.below(2), tail: r.below(3), snout: r.between(.7, 1.2), collar: l.tint(r),
	}
}

// dog adds a dog that stands on the pose's origin and looks along its z. phase is that of its walk.
func (b *builder) dog(d *hound, phase, walking float32, sitting bool) {
	h, l, g := d.height, d.length, d.girth
	b.paint(d.fur.texture, d.fur.tint, matte)
	fur := b.material
	chest, rump := vector{0, h * .8, l * .4}, vector{0, h * .78, -l * .42}
	if sitting {
		rump = vector{0, h * .3, -l * .3}
		chest = vector{0, h * .78, l * .1}
	}
	middle := chest.lerp(rump, .5).add(vector{0, .02 * h, 0})
	b.limb(chest, middle, .15*h*g, .2*h*g, .14*h*g, .17*h*g)
	b.limb(middle, rump, .14*h*g, .17*h*g, .14*h*g, .16*h*g)
	b.ball(chest, vector{.15 * h * g, .2 * h * g, .16 * h * g})
	b.ball(rump, vector{.14 * h * g, .17 * h * g, .14 * h * g})
	for i := range 4 {
		side := float32(2*(i%2) - 1)
		hip, swing := chest.sub(vector{0, .08 * h, .04 * h}), float32(0)
		if i >= 2 {
			hip = rump.sub(vector{0, .05 * h, -.02 * h})
		}
		s, _ := sincos(phase + float32(i%2)*3.14159 + float32(i/2)*3.14159)
		swing = s * .26 * h * walking
		lift := max(0, s) * .05 * h * walking
		hip.x = side * .1 * h * g
		paw := vector{hip.x, .03 * h, hip.z + swing}
		paw.y += lift
		if sitting && i >= 2 {
			paw.z += .22 * h
		}
		bend := vector{0, 0, 1}
		if i >= 2 {
			bend.z = -1
		}
		reach := hip.sub(paw).length()
		knee := joint(hip, paw, reach*.53, reach*.53, bend)
		b.material = fur
		b.limb(hip, knee, .085*h, .115*h, .065*h, .07*h)
		b.limb(knee, paw, .06*h, .065*h, .052*h, .054*h)
		b.box(paw.add(vector{0, 0, .03 * h}), vector{.09 * h, .06 * h, .14 * h})
	}
	b.dogHead(d, chest, fur)
	b.material = fur
	root := rump.add(vector{0, .08 * h, -.12 * h})
	tip := root.add([3]vector{{0, .34 * h, -.12 * h}, {0, .06 * h, -.36 * h}, {0, -.26 * h, -.16 * h}}[d.tail])
	b.limb(root, tip, .06*h, .06*h, .035*h, .035*h)
}

func (b *builder) dogHead(d *hound, chest vector, fur int32) {
	h := d.height
	head := chest.add(vector{0, .3 * h, .24 * h})
	b.material = fur
	b.limb(chest.add(vector{0, .03 * h, .04 * h}), head, .12*h, .13*h, .09*h, .1*h)
	b.ball(head.add(vector{0, .04 * h, .04 * h}), vector{.12 * h, .12 * h, .14 * h})
	nose := head.add(vector{0, -.02 * h, .15*h + .16*h*d.snout})
	b.limb(head.add(vector{0, 0, .1 * h}), nose, .075*h, .07*h, .05*h, .045*h)
	b.paint(d.patch.texture, d.patch.tint, matte)
	for _, side := range [2]float32{-1, 1} {
		root := head.add(vector{side * .09 * h, .13 * h, .01 * h})
		if d.ears == 0 {
			b.limb(root, root.add(vector{side * .03 * h, .15 * h, 0}), .045*h, .025*h, .008*h, .008*h)
		} else {
			b.limb(root, root.add(vector{side * .06 * h, -.17 * h, .02 * h}), .03*h, .05*h, .02*h, .05*h)
		}
	}
	b.plain([3]float32{.08, .07, .07})
	b.ball(nose.add(vector{0, .015 * h, .01 * h}), vector{.03 * h, .03 * h, .03 * h})
	b.plain(d.collar)
	p, q := chest.add(vector{0, .15 * h, .13 * h}), chest.add(vector{0, .19 * h, .165 * h})
	b.limb(p, q, .125*h, .135*h, .125*h, .13*h)
}
