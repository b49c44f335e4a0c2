package street

// kind is how a material takes light.
type kind uint8

const (
	matte  kind = iota
	ground      // flat on the ground: takes contact shadows
	thin        // seen from both sides, lets light through
	glow        // gives its own light
)

// material is a texture, and the tint that it is multiplied with: gamma 2, over the 255 of the texture.
type material struct {
	texture *texture
	tint    [3]float32
	kind    kind
}

// corner is a vertex with the light that reaches it: from the sun, if no shadow is on it, and from the sky.
type corner struct {
	at             vector
	u, v, sun, sky float32
}

// face is a triangle; its corners go around so that (b-a)×(c-a) points out of the body.
type face struct{ a, b, c, material int32 }

// mesh is a body, or many.
type mesh struct {
	corners   []corner
	faces     []face
	materials []material
}

func (m *mesh) reset() {
	m.corners, m.faces, m.materials = m.corners[:0], m.faces[:0], m.materials[:0]
}

// piece is a part of a mesh, put somewhere.
type piece struct {
	mesh           *mesh
	corners, faces [2]int32 // first, and behind the last
	offset         vector
	centre         vector // of a ball around it, offset included
	radius         float32
	object         int32 // 1 + index of the object it is; 0: none
	still          bool  // it never moves
}

// builder adds bodies to a mesh.
type builder struct {
	mesh     *mesh
	look     *look
	pose     pose
	material int32
	shade    float32 // share of the sky's light that gets here
	tile     float32 // texture tiles per metre
	sides    int     // of round things
}

func newBuilder(m *mesh, l *look) builder {
	return builder{mesh: m, look: l, pose: upright(vector{}, 0), shade: 1, tile: 1, sides: 8}
}

// paint sets what is built from now on. tint is gamma 2, 0 to 1.
func (b *builder) paint(t *texture, tint [3]float32, k kind) {
	b.material = int32(len(b.mesh.materials))
	b.mesh.materials = append(b.mesh.materials, material{t, [3]float32{tint[0] / 255, tint[1] / 255, tint[2] / 255}, k})
}

// plain paints without a pattern.
func (b *builder) plain(tint [3]float32) { b.paint(b.look.plain, tint, matte) }

func (b *builder) corner(at, normal vector, u, v float32) int32 {
	c := corner{at: b.pose.point(at), u: u, v: v}
	n := b.pose.turn(normal)
	k := b.mesh.materials[b.material].kind
	c.sun = n.dot(b.look.sun)
	c.sky = b.shade * (.72 + .28*n.y)
	switch k {
	case thin:
		c.sun = max(c.sun, -.6*c.sun)
	case glow:
		c.sun, c.sky = 0, 2*b.shade
	case matte:
		c.sky *= .62 + .38*clamp(c.at.y/.6, 0, 1) // the ground takes light from what stands on it
	}
	c.sun = max(1.06*c.sun-.06, 0) // what the light only grazes would show the shadow map's texels
	b.mesh.corners = append(b.mesh.corners, c)
	return int32(len(b.mesh.corners) - 1)
}

// triangle adds a face that looks along out, in the builder's pose.
func (b *builder) triangle(i, j, k int32, out vector) {
	c := b.mesh.corners
	n := c[j].at.sub(c[i].at).cross(c[k].at.sub(c[i].at))
	if n.dot(b.pose.turn(out)) < 0 {
		j, k = k, j
	}
	b.mesh.faces = append(b.mesh.faces, face{i, j, k, b.material})
}

// quad adds a flat face p, q, r, s that looks along out; the texture lies along p-q and p-s.
func (b *builder) quad(p, q, r, s, out vector) {
	width, height := q.sub(p).length()*b.tile, s.sub(p).length()*b.tile
	b.quadTiled(p, q, r, s, out, width, height)
}

// quadTiled is quad with the number of tiles given.
func (b *builder) quadTiled(p, q, r, s, out vector, width, height float32) {
	out = out.unit()
	i, j := b.corner(p, out, 0, height), b.corner(q, out, width, height)
	k, l := b.corner(r, out, width, 0), b.corner(s, out, 0, 0)
	b.triangle(i, j, k, out)
	b.triangle(i, k, l, out)
}

// box adds a box around centre.
func (b *builder) box(centre, size vector) {
	b.taperedBox(centre, size, 1, 1)
}

// taperedBox is a box whose top is narrower, or wider, by the factors along x and z.
func (b *builder) taperedBox(centre, size vector, alongX, alongZ float32) {
	x, y, z := size.x/2, size.y/2, size.z/2
	at := func(dx, dy, dz float32) vector {
		kx, kz := x, z
		if dy > 0 {
			kx, kz = x*alongX, z*alongZ
		}
		return centre.add(vector{dx * kx, dy * y, dz * kz})
	}
	b.quad(at(-1, -1, -1), at(1, -1, -1), at(1, 1, -1), at(-1, 1, -1), vector{0, 0, -1})
	b.quad(at(1, -1, 1), at(-1, -1, 1), at(-1, 1, 1), at(1, 1, 1), vector{0, 0, 1})
	b.quad(at(-1, -1, 1), at(-1, -1, -1), at(-1, 1, -1), at(-1, 1, 1), vector{-1, 0, 0})
	b.quad(at(1, -1, -1), at(1, -1, 1), at(1, 1, 1), at(1, 1, -1), vector{1, 0, 0})
	b.quad(at(-1, 1, -1), at(1, 1, -1), at(1, 1, 1), at(-1, 1, 1), vector{0, 1, 0})
	if centre.y-y > .05 {
		b.quad(at(-1, -1, 1), at(1, -1, 1), at(1, -1, -1), at(-1, -1, -1), vector{0, -1, 0})
	}
}

// across gives two directions that stand on d and on each other; the first is as near to x as can be.
func across(d vector) (side, front vector) {
	reference := vector{1, 0, 0}
	if d.x*d.x > .8 {
		reference = vector{0, 0, 1}
	}
	front = reference.cross(d).unit()
	return d.cross(front).unit(), front
}

// limb adds a round body from p to q, elliptic: wide to the side, deep to the front; caps close it.
func (b *builder) limb(p, q vector, wideP, deepP, wideQ, deepQ float32) {
	axis := q.sub(p)
	length := axis.length()
	axis = axis.unit()
	side, front := across(axis)
	n := b.sides
	around := max(1, float32(int((wideP+wideQ)*3*b.tile+.5)))
	first := int32(len(b.mesh.corners))
	for i := range n + 1 {
		s, c := sincos(float32(i) / float32(n) * 6.2831853)
		out := side.mul(c / (wideP + wideQ)).add(front.mul(s / (deepP + deepQ))).unit()
		u := float32(i) / float32(n) * around
		b.corner(p.add(side.mul(c*wideP)).add(front.mul(s*deepP)), out, u, 0)
		b.corner(q.add(side.mul(c*wideQ)).add(front.mul(s*deepQ)), out, u, length*b.tile)
	}
	for i := range int32(n) {
		j := first + 2*i
		s, c := sincos((float32(i) + .5) / float32(n) * 6.2831853)
		out := side.mul(c).add(front.mul(s))
		b.triangle(j, j+2, j+1, out)
		b.triangle(j+1, j+2, j+3, out)
	}
	b.cap(first, n, axis.mul(-1), p)
	b.cap(first+1, n, axis, q)
}

// cap closes a limb with a fan; its corners are those of the limb, two apart.
func (b *builder) cap(first int32, n int, out, centre vector) {
	if b.sides <= 4 {
		b.triangle(first, first+2, first+4, out)
		b.triangle(first, first+4, first+6, out)
		return
	}
	middle := b.corner(centre, out, 0, 0)
	for i := range int32(n) {
		b.triangle(middle, first+2*i, first+2*i+2, out)
	}
}

// rod is a thin limb.
func (b *builder) rod(p, q vector, radius float32) {
	sides := b.sides
	b.sides = min(sides, 4)
	b.limb(p, q, radius, radius, radius, radius)
	b.sides = sides
}

// ball adds an ellipsoid.
func (b *builder) ball(centre, radius vector) {
	n, stacks := b.sides, max(3, b.sides/2+1)
	first := int32(len(b.mesh.corners))
	for i := range stacks + 1 {
		sy, cy := sincos((float32(i)/float32(stacks) - .5) * 3.1415926)
		for j := range n + 1 {
			s, c := sincos(float32(j) / float32(n) * 6.2831853)
			out := vector{c * cy, sy, s * cy}
			at := centre.add(vector{out.x * radius.x, out.y * radius.y, out.z * radius.z})
			b.corner(at, vector{out.x / radius.x, out.y / radius.y, out.z / radius.z}.unit(), float32(j)/float32(n)*2, float32(i)/float32(stacks))
		}
	}
	row := int32(n + 1)
	for i := range int32(stacks) {
		for j := range int32(n) {
			k := first + i*row + j
			out := b.outward(centre, k, k+row+1)
			if i > 0 {
				b.triangle(k, k+1, k+row+1, out)
			}
			if i < int32(stacks)-1 {
				b.triangle(k, k+row+1, k+row, out)
			}
		}
	}
}

// outward is the direction from centre to between two corners, in the builder's pose.
func (b *builder) outward(centre vector, i, j int32) vector {
	d := b.mesh.corners[i].at.lerp(b.mesh.corners[j].at, .5).sub(b.pose.point(centre))
	p := &b.pose
	return vector{d.dot(p.x), d.dot(p.y), d.dot(p.z)}
}

// ring adds a tyre around the x axis.
func (b *builder) ring(centre vector, outer, inner, width float32, n int) {
	at := func(i int, radius, x float32) vector {
		s, c := sincos(float32(i%n) / float32(n) * 6.2831853)
		return centre.add(vector{x, c * radius, s * radius})
	}
	for i := range n {
		s, c := sincos((float32(i) + .5) / float32(n) * 6.2831853)
		out, x := vector{0, c, s}, width/2
		b.quad(at(i, outer, -x), at(i+1, outer, -x), at(i+1, outer, x), at(i, outer, x), out)
		b.quad(at(i, inner, -x), at(i+1, inner, -x), at(i+1, inner, x), at(i, inner, x), out.mul(-1))
		for _, x := range [2]float32{-x, x} {
			b.quad(at(i, inner, x), at(i+1, inner, x), at(i+1, outer, x), at(i, outer, x), vector{x, 0, 0})
		}
	}
}

// disc adds a flat round face that looks along x (or against it, by the sign of side).
func (b *builder) disc(centre vector, radius, side float32, n int) {
	out := vector{side, 0, 0}
	middle := b.corner(centre, out, 0, 0)
	first := int32(len(b.mesh.corners))
	for i := range n + 1 {
		s, c := sincos(float32(i) / float32(n) * 6.2831853)
		b.corner(centre.add(vector{0, c * radius, s * radius}), out, c, s)
	}
	for i := range int32(n) {
		b.triangle(middle, first+i, first+i+1, out)
	}
}

// wheel adds a solid wheel with a hub.
func (b *builder) wheel(centre vector, radius, width float32, n int, hub [3]float32) {
	b.plain([3]float32{.16, .16, .17})
	b.limbSides(centre.sub(vector{width / 2, 0, 0}), centre.add(vector{width / 2, 0, 0}), radius, n)
	b.plain(hub)
	b.disc(centre.add(vector{width/2 + .006, 0, 0}), radius*.6, 1, n)
	b.disc(centre.sub(vector{width/2 + .006, 0, 0}), radius*.6, -1, n)
}

// limbSides is a round limb of n sides.
func (b *builder) limbSides(p, q vector, radius float32, n int) {
	sides := b.sides
	b.sides = n
	b.limb(p, q, radius, radius, radius, radius)
	b.sides = sides
}
