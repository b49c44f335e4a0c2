package street

// motor is how a car or a bus looks.
type motor struct {
	length, width, height float32 // metres
	shape                 int     // 0 hatchback, 1 saloon, 2 off-roader, 3 van
	body, trim            fabric
	hub                   [3]float32
}

func newCar(l *look, r *random) motor {
	m := motor{shape: r.below(4), width: r.between(1.66, 1.86), body: l.fabric(r), trim: l.fabric(r), hub: hsv(0, 0, r.between(.35, .8))}
	m.length = [4]float32{3.8, 4.5, 4.3, 4.6}[m.shape] * r.between(.93, 1.06)
	m.height = [4]float32{1.45, 1.42, 1.68, 1.9}[m.shape] * r.between(.96, 1.06)
	return m
}

func newBus(l *look, r *random) motor {
	return motor{length: r.between(7.6, 10.5), width: r.between(2.3, 2.5), height: r.between(2.75, 3.2), body: l.fabric(r), trim: l.fabric(r), hub: hsv(0, 0, r.between(.3, .7))}
}

// station is a cross-section of a body: at z, from bottom to top, half as wide at the top.
type station struct{ z, bottom, top, wide, wideTop float32 }

// loft joins cross-sections, front to back or back to front, and closes both ends.
func (b *builder) loft(stations []station) {
	for i := 1; i < len(stations); i++ {
		p, q := stations[i-1], stations[i]
		for _, sign := range [2]float32{-1, 1} {
			b.quad(vector{sign * p.wide, p.bottom, p.z}, vector{sign * q.wide, q.bottom, q.z}, vector{sign * q.wideTop, q.top, q.z}, vector{sign * p.wideTop, p.top, p.z},
				vector{sign, (p.wide - p.wideTop) / max(p.top-p.bottom, .01), 0})
		}
		rise := (q.top - p.top) / (q.z - p.z)
		b.quad(vector{-p.wideTop, p.top, p.z}, vector{-q.wideTop, q.top, q.z}, vector{q.wideTop, q.top, q.z}, vector{p.wideTop, p.top, p.z}, vector{0, 1, -rise})
	}
	for _, i := range [2]int{0, len(stations) - 1} {
		p, other := stations[i], stations[len(stations)-1-i]
		b.quad(vector{-p.wide, p.bottom, p.z}, vector{p.wide, p.bottom, p.z}, vector{p.wideTop, p.top, p.z}, vector{-p.wideTop, p.top, p.z}, vector{0, 0, p.z - other.z})
	}
}

// car adds a car that stands on the pose's origin and looks along its z.
func (b *builder) car(m *motor, wheels int) {
	l, w, h := m.length/2, m.width/2, m.height
	belt, floor := h*.56, float32(.22)
	bonnet, boot := h*.52, h*.54
	front, rear := l*.38, -l*.62 // feet of the wind screens
	roofFront, roofRear := l*.02, -l*.48
	switch m.shape {
	case 0:
		rear, roofRear, boot = -l*.97, -l*.72, belt
	case 2:
		rear, roofRear, boot = -l*.98, -l*.88, belt
	case 3:
		rear, roofRear, boot = -l*.985, -l*.95, belt
		front, roofFront, bonnet = l*.66, l*.36, h*.5
	}
	b.paint(m.body.texture, m.body.tint, matte)
	b.tile = .5
	b.loft([]station{
		{l, floor + .08, bonnet * .82, w * .86, w * .8}, {l * .93, floor, bonnet * .95, w * .97, w * .9}, {front, floor, belt, w, w * .95},
		{rear, floor, max(belt, boot), w, w * .95}, {-l * .985, floor, boot, w * .95, w * .88}, {-l, floor + .1, boot * .9, w * .88, w * .84},
	})
	b.loft([]station{{front, belt - .02, belt, w * .94, w * .93}, {roofFront, belt - .02, h, w * .94, w * .76}, {roofRear, belt - .02, h, w * .94, w * .76}, {rear, belt - .02, belt, w * .94, w * .9}})
	b.carGlass(m, belt, front, roofFront, roofRear, rear)
	b.carDoors(m, belt, (roofFront+roofRear)/2, front)
	b.carFace(m, bonnet, boot)
	for _, z := range [2]float32{l * .62, -l * .6} {
		for _, sign := range [2]float32{-1, 1} {
			b.plain([3]float32{.1, .1, .1})
			b.disc(vector{sign * (w + .008), .33, z}, .38, sign, wheels)
			b.wheel(vector{sign * (w - .07), .31, z}, .31, .2, wheels, m.hub)
		}
	}
}

// carGlass adds the windows, a centimetre before the body.
func (b *builder) carGlass(m *motor, belt, front, roofFront, roofRear, rear float32) {
	w, h := m.width/2, m.height
	b.paint(b.look.glass, [3]float32{.45, .52, .58}, matte)
	b.tile = .6
	inset := func(p, q float32, k float32) float32 { return p + (q-p)*k }
	pane := func(z0, y0, z1, y1, lift float32, out vector) { // across the car
		a, c := inset(z0, z1, .1), inset(z0, z1, .9)
		ya, yc := inset(y0, y1, .1)+lift, inset(y0, y1, .9)+lift
		b.quadTiled(vector{-w * .84, ya, a + out.z*.015}, vector{w * .84, ya, a + out.z*.015}, vector{w * .7, yc, c + out.z*.015}, vector{-w * .7, yc, c + out.z*.015}, out, .8, .9)
	}
	pane(front, belt, roofFront, h, .012, vector{0, .6, 1})
	pane(rear, belt, roofRear, h, .012, vector{0, .6, -1})
	low, high := belt+.05, inset(belt, h, .86)
	wideAt := func(y float32) float32 { return inset(.94, .76, (y-belt)/(h-belt))*w + .012 }
	for _, sign := range [2]float32{-1, 1} {
		middle := (roofFront + roofRear) / 2
		for i, z := range [2][4]float32{
			{inset(front, roofFront, .22), middle + .05, middle + .05, inset(front, roofFront, .92)},
			{middle - .05, inset(rear, roofRear, .25), inset(rear, roofRear, .9), middle - .05},
		} {
			if m.shape == 3 && i == 1 && m.body.tint[0] > .5 {
				continue // a van without rear windows
			}
			x0, x1 := sign*wideAt(low), sign*wideAt(high)
			b.quadTiled(vector{x0, low, z[0]}, vector{x0, low, z[1]}, vector{x1, high, z[2]}, vector{x1, high, z[3]}, vector{sign, .3, 0}, .6, .9)
		}
	}
}

// carDoors adds the gaps around the doors, the handles, and the sills.
func (b *builder) carDoors(m *motor, belt, middle, front float32) {
	w := m.width / 2
	b.plain([3]float32{.16, .16, .17})
	for _, sign := range [2]float32{-1, 1} {
		x := sign * (w + .006)
		line := func(y0, y1, z0, z1 float32) {
			at := func(y, z float32) vector { return vector{x - sign*.05*w*clamp((y-.3)/(belt-.3), 0, 1), y, z} }
			b.quad(at(y0, z0), at(y0, z1), at(y1, z1), at(y1, z0), vector{sign, .1, 0})
		}
		line(.3, belt, middle-.012, middle+.012)
		line(.3, belt, front-.24, front-.216)
		line(.24, .36, -m.length*.28, m.length*.3)
		line(belt-.12, belt-.085, middle+.08, middle+.24)
	}
}

// carFace adds lamps, bumpers, grille and plates.
func (b *builder) carFace(m *motor, bonnet, boot float32) {
	l, w := m.length/2, m.width/2
	b.plain([3]float32{.2, .2, .21})
	b.box(vector{0, .36, l - .02}, vector{w * 1.75, .2, .12})
	b.box(vector{0, .36, -l + .02}, vector{w * 1.75, .2, .12})
	b.box(vector{0, bonnet*.68 + .05, l - .005}, vector{w * .8, .12, .04})
	for _, sign := range [2]float32{-1, 1} {
		b.plain([3]float32{.97, .96, .9})
		b.box(vector{sign * w * .64, bonnet * .72, l - .02}, vector{w * .32, .13, .1})
		b.plain([3]float32{.75, .12, .1})
		b.box(vector{sign * w * .7, boot * .76, -l + .02}, vector{w * .26, .2, .1})
		b.paint(m.body.texture, m.body.tint, matte)
		b.box(vector{sign * (w + .07), m.height * .6, m.length * .16}, vector{.13, .11, .09})
	}
	b.plain([3]float32{.92, .92, .88})
	b.box(vector{0, .42, l + .045}, vector{.5, .11, .02})
	b.box(vector{0, .5, -l - .045}, vector{.5, .11, .02})
}

// bus adds a bus that stands on the pose's origin and looks along its z.
func (b *builder) bus(m *motor, wheels int) {
	l, w, h := m.length/2, m.width/2, m.height
	b.paint(m.body.texture, m.body.tint, matte)
	b.tile = .35
	b.loft([]station{
		{l, .45, h * .93, w * .93, w * .86}, {l * .97, .32, h * .985, w, w * .95}, {l * .9, .3, h, w, w * .96},
		{-l * .95, .3, h, w, w * .96}, {-l, .4, h * .96, w * .96, w * .9},
	})
	b.paint(m.trim.texture, m.trim.tint, matte)
	for _, sign := range [2]float32{-1, 1} { // a stripe along the sides
		x := sign * (w + .012)
		b.quad(vector{x, .62, -l * .97}, vector{x, .62, l * .93}, vector{x, .86, l * .93}, vector{x, .86, -l * .97}, vector{sign, 0, 0})
	}
	b.plain([3]float32{.5, .5, .5})
	b.box(vector{0, h + .09, -l * .3}, vector{w * 1.2, .2, l * .7})
	b.busGlass(m)
	for _, sign := range [2]float32{-1, 1} {
		b.plain([3]float32{.97, .96, .9})
		b.box(vector{sign * w * .7, .68, l - .01}, vector{w * .3, .18, .06})
		b.plain([3]float32{.75, .12, .1})
		b.box(vector{sign * w * .82, .95, -l + .01}, vector{w * .16, .34, .06})
		b.plain([3]float32{.13, .13, .13})
		b.box(vector{sign * (w + .16), h * .72, l - .05}, vector{.16, .36, .1})
		for _, z := range [2]float32{l * .58, -l * .52} {
			b.plain([3]float32{.1, .1, .1})
			b.disc(vector{sign * (w + .014), .5, z}, .56, sign, wheels)
			b.wheel(vector{sign * (w - .12), .47, z}, .47, .3, wheels, m.hub)
		}
	}
	b.plain([3]float32{.2, .2, .21})
	b.box(vector{0, .42, l - .02}, vector{w * 1.8, .2, .12})
	b.box(vector{0, .42, -l + .02}, vector{w * 1.8, .2, .12})
}

// busGlass adds the windows, the doors and the line's sign.
func (b *builder) busGlass(m *motor) {
	l, w, h := m.length/2, m.width/2, m.height
	low, high := h*.44, h*.8
	b.paint(b.look.glass, [3]float32{.42, .48, .54}, matte)
	b.tile = .4
	panes := int(m.length / 1.45)
	for _, sign := range [2]float32{-1, 1} {
		x0, x1 := sign*(w+.012), sign*(w*.975+.012)
		for i := range panes {
			z0 := -l*.93 + float32(i)*l*1.8/float32(panes)
			z1 := z0 + l*1.8/float32(panes) - .12
			bottom := low
			if sign > 0 && (i == panes-1 || i == panes/2) {
				bottom = .42 // doors
			}
			b.quadTiled(vector{x0, bottom, z0}, vector{x0, bottom, z1}, vector{x1, high, z1}, vector{x1, high, z0}, vector{sign, .1, 0}, .6, .9)
		}
	}
	b.quadTiled(vector{-w * .86, h * .36, l + .012}, vector{w * .86, h * .36, l + .012}, vector{w * .84, h * .78, l + .012}, vector{-w * .84, h * .78, l + .012}, vector{0, 0, 1}, .9, .9)
	b.quadTiled(vector{-w * .75, h * .5, -l - .012}, vector{w * .75, h * .5, -l - .012}, vector{w * .72, h * .8, -l - .012}, vector{-w * .72, h * .8, -l - .012}, vector{0, 0, -1}, .9, .9)
	b.plain([3]float32{.08, .08, .09})
	b.box(vector{0, h * .86, l - .01}, vector{w * 1.4, h * .1, .05})
	b.paint(b.look.cloth[0], [3]float32{.95, .75, .25}, glow)
	b.box(vector{w * .1, h * .86, l + .005}, vector{w * .8, h * .05, .04})
}
