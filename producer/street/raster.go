package street

import "math"

// near is the distance, in metres along the optical axis, before which nothing is drawn.
const near = .2

// view is the camera of one frame. World coordinates in it are relative to origin, so that they stay small.
type view struct {
	camera              Camera
	width, height       int
	origin              float64 // metres along the street
	eye                 vector  // relative to origin
	right, up, forward  vector
	focal, cx, cy       float32
	edgeLeft, edgeRight vector // inward normals of the sides of what is seen, through the eye
}

// aim fills in what follows from the camera.
func (v *view) aim(width, height int, origin float64) {
	c := &v.camera
	v.width, v.height, v.origin = width, height, origin
	v.eye = vector{float32(c.X), float32(c.Height), float32(c.Z - origin)}
	sy, cy := sincos(float32(c.Yaw))
	sp, cp := sincos(float32(c.Pitch))
	v.forward = vector{sy * cp, -sp, cy * cp}
	v.right = vector{cy, 0, -sy}
	v.up = v.forward.cross(v.right)
	v.focal, v.cx, v.cy = float32(c.Focal), float32(c.CX), float32(c.CY)
	half := v.cx / v.focal
	v.edgeLeft = v.right.add(v.forward.mul(half)).unit()
	v.edgeRight = v.forward.mul(half).sub(v.right).unit()
}

// sees tells whether a ball may be in the picture.
func (v *view) sees(centre vector, radius float32) bool {
	d := centre.sub(v.eye)
	return d.dot(v.forward) > near-radius && d.dot(v.edgeLeft) > -radius && d.dot(v.edgeRight) > -radius
}

// eyed is a corner as the camera sees it.
type eyed struct {
	at             vector // right, up, forward
	u, v, sun, sky float32
}

// shown is a triangle in the picture: what varies over it, as planes over pixels, divided by the distance.
type shown struct {
	x, y                 int32 // the pixel that the values are of
	object               int32
	material             *material
	near, nearX, nearY   float32 // 1/metres
	u, uX, uY, v, vX, vY float32
	sun, sunX, sunY      float32
	sky, skyX, skyY      float32
}

// raster finds which triangle each pixel shows.
type raster struct {
	width, height int
	near          []float32 // 1/metres along the optical axis; 0 is sky
	top           []int32   // 1 + index of the triangle
	contact       []uint8   // contact shadow, 0 is none
	shown         []shown
	eyed          []eyed

	stamp   []int32 // the object that covered a pixel last
	covered []int32 // pixels by object: what it would show if nothing stood before it
}

func newRaster(width, height int) raster {
	n := width * height
	return raster{
		width: width, height: height, near: make([]float32, n), top: make([]int32, n), contact: make([]uint8, n),
		stamp: make([]int32, n), shown: make([]shown, 1, 1<<14),
	}
}

func (r *raster) begin() {
	clear(r.near)
	clear(r.top)
	clear(r.contact)
	clear(r.stamp)
	r.shown = r.shown[:1]
	r.covered = append(r.covered[:0], 0)
}

// draw adds a piece. The pieces of an object follow each other, objects count up.
func (r *raster) draw(v *view, p *piece) {
	for int(p.object) >= len(r.covered) {
		r.covered = append(r.covered, 0)
	}
	if !v.sees(p.centre, p.radius) {
		return
	}
	corners := p.mesh.corners[p.corners[0]:p.corners[1]]
	if cap(r.eyed) < len(corners) {
		r.eyed = make([]eyed, 2*len(corners))
	}
	out := r.eyed[:len(corners)]
	shift := p.offset.sub(v.eye)
	for i := range corners {
		c := &corners[i]
		d := c.at.add(shift)
		out[i] = eyed{vector{d.dot(v.right), d.dot(v.up), d.dot(v.forward)}, c.u, c.v, c.sun, c.sky}
	}
	for _, f := range p.mesh.faces[p.faces[0]:p.faces[1]] {
		a, b, c := &out[f.a-p.corners[0]], &out[f.b-p.corners[0]], &out[f.c-p.corners[0]]
		m := &p.mesh.materials[f.material]
		if m.kind != thin && b.at.sub(a.at).cross(c.at.sub(a.at)).dot(a.at) >= 0 {
			continue
		}
		if a.at.z < near || b.at.z < near || c.at.z < near {
			r.clip(v, a, b, c, m, p.object)
			continue
		}
		r.triangle(v, a, b, c, m, p.object)
	}
}

// clip draws what lies behind the near plane.
func (r *raster) clip(v *view, a, b, c *eyed, m *material, object int32) {
	var kept [4]eyed
	n := 0
	ring := [4]*eyed{a, b, c, a}
	for i := range 3 {
		p, q := ring[i], ring[i+1]
		if p.at.z >= near {
			kept[n] = *p
			n++
		}
		if (p.at.z >= near) != (q.at.z >= near) {
			k := (near - p.at.z) / (q.at.z - p.at.z)
			mid := func(x, y float32) float32 { return x + (y-x)*k }
			kept[n] = eyed{p.at.lerp(q.at, k), mid(p.u, q.u), mid(p.v, q.v), mid(p.sun, q.sun), mid(p.sky, q.sky)}
			kept[n].at.z = near
			n++
		}
	}
	for i := 2; i < n; i++ {
		r.triangle(v, &kept[0], &kept[i-1], &kept[i], m, object)
	}
}

// planar is a value that is linear over the picture.
type planar struct{ x0, y0, dx1, dy1, dx2, dy2, scale float64 }

// fit returns the value at pixel x, y and its slopes.
func (p *planar) fit(a, b, c, x, y float64) (at, slopeX, slopeY float32) {
	b, c = b-a, c-a
	sx := (b*p.dy2 - c*p.dy1) * p.scale
	sy := (c*p.dx1 - b*p.dx2) * p.scale
	return float32(a + sx*(x-p.x0) + sy*(y-p.y0)), float32(sx), float32(sy)
}

// triangle sets up a triangle that is all behind the near plane, and fills it.
func (r *raster) triangle(v *view, a, b, c *eyed, m *material, object int32) {
	var x, y, n [3]float64
	for i, e := range [3]*eyed{a, b, c} {
		n[i] = 1 / float64(e.at.z)
		x[i] = float64(v.cx) + float64(v.focal)*float64(e.at.x)*n[i]
		y[i] = float64(v.cy) - float64(v.focal)*float64(e.at.y)*n[i]
	}
	top, bottom := min(y[0], y[1], y[2]), max(y[0], y[1], y[2])
	left, right := min(x[0], x[1], x[2]), max(x[0], x[1], x[2])
	if bottom < 0 || top > float64(r.height) || right < 0 || left > float64(r.width) {
		return
	}
	first, last := int(math.Ceil(max(top, 0)-.5)), int(math.Ceil(min(bottom, float64(r.height))-.5)) // rows whose middle is inside
	if first >= last || math.Ceil(left-.5) >= math.Ceil(right-.5) {
		return
	}
	p := planar{x[0], y[0], x[1] - x[0], y[1] - y[0], x[2] - x[0], y[2] - y[0], 0}
	area := p.dx1*p.dy2 - p.dx2*p.dy1
	if area == 0 {
		return
	}
	p.scale = 1 / area
	px, py := int32(max(left, 0)), int32(first)
	mx, my := float64(px)+.5, float64(py)+.5
	s := shown{x: px, y: py, material: m, object: object}
	s.near, s.nearX, s.nearY = p.fit(n[0], n[1], n[2], mx, my)
	fit := func(i, j, k float32) (float32, float32, float32) {
		return p.fit(float64(i)*n[0], float64(j)*n[1], float64(k)*n[2], mx, my)
	}
	s.u, s.uX, s.uY = fit(a.u, b.u, c.u)
	s.v, s.vX, s.vY = fit(a.v, b.v, c.v)
	s.sun, s.sunX, s.sunY = fit(a.sun, b.sun, c.sun)
	s.sky, s.skyX, s.skyY = fit(a.sky, b.sky, c.sky)
	r.shown = append(r.shown, s)
	r.fill(&r.shown[len(r.shown)-1], &x, &y, first, last)
}

// edge is the side of a triangle: its x at the middle of a row.
type edge struct{ x0, y0, slope float64 }

func newEdge(x0, y0, x1, y1 float64) edge {
	if y1 < y0 {
		x0, y0, x1, y1 = x1, y1, x0, y0
	}
	if y1 == y0 {
		return edge{x0, y0, 0}
	}
	return edge{x0, y0, (x1 - x0) / (y1 - y0)}
}

func (e *edge) at(y float64) float64 { return e.x0 + (y-e.y0)*e.slope }

// fill walks the rows of a triangle. A pixel belongs to it when its middle does; neighbours share no pixel.
func (r *raster) fill(s *shown, x, y *[3]float64, first, last int) {
	i, j, k := 0, 1, 2 // by height
	if y[j] < y[i] {
		i, j = j, i
	}
	if y[k] < y[i] {
		i, k = k, i
	}
	if y[k] < y[j] {
		j, k = k, j
	}
	long := newEdge(x[i], y[i], x[k], y[k])
	upper, lower := newEdge(x[i], y[i], x[j], y[j]), newEdge(x[j], y[j], x[k], y[k])
	index := int32(len(r.shown) - 1)
	width := float64(r.width)
	for row := first; row < last; row++ {
		middle := float64(row) + .5
		from, to := long.at(middle), 0.
		if middle < y[j] {
			to = upper.at(middle)
		} else {
			to = lower.at(middle)
		}
		if to < from {
			from, to = to, from
		}
		start, end := int(math.Ceil(max(from, 0)-.5)), int(math.Ceil(min(to, width)-.5))
		if start >= end {
			continue
		}
		value := s.near + s.nearX*float32(int32(start)-s.x) + s.nearY*float32(int32(row)-s.y)
		base := row * r.width
		if s.object > 0 {
			r.spanObject(base+start, base+end, value, s.nearX, index, s.object)
		} else {
			r.span(base+start, base+end, value, s.nearX, index)
		}
	}
}

func (r *raster) span(start, end int, value, slope float32, index int32) {
	depth := r.near[start:end]
	top := r.top[start:end]
	top = top[:len(depth)]
	for i := range depth {
		if value > depth[i] {
			depth[i], top[i] = value, index
		}
		value += slope
	}
}

// spanObject is span that also counts what the object covers, once per pixel.
func (r *raster) spanObject(start, end int, value, slope float32, index, object int32) {
	depth := r.near[start:end]
	top, stamp := r.top[start:end], r.stamp[start:end]
	top, stamp = top[:len(depth)], stamp[:len(depth)]
	count := int32(0)
	for i := range depth {
		if stamp[i] != object {
			stamp[i] = object
			count++
		}
		if value > depth[i] {
			depth[i], top[i] = value, index
		}
		value += slope
	}
	r.covered[object] += count
}
