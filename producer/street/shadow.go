package street

import "math"

// Sizes of the two shadow maps: a fine one where things can be told apart, a coarse one of houses for all that is far.
const (
	fineSize, fineTexel     = 768, .065 // texels a side, metres
	coarseSize, coarseTexel = 512, .42
	shadowSnap              = 4    // metres along the street that the maps move at once
	shadowAhead             = 17   // metres from the camera to the middle of the fine map
	bottomless              = -1e9 // nothing there
)

// shadowMap holds how far towards the sun the nearest thing stands, along rays parallel to the sunlight.
type shadowMap struct {
	size         int
	texel        float32
	bias         float32 // metres
	right, front vector  // across the sunlight, a texel long when divided by texel²
	sun          vector
	centre       vector
	height       []float32 // metres towards the sun from centre
}

func newShadowMap(size int, texel, bias float32, sun vector) shadowMap {
	side, front := across(sun)
	return shadowMap{size: size, texel: texel, bias: bias, right: side, front: front, sun: sun, height: make([]float32, size*size)}
}

// shadows are the maps of a street. What never moves is cast once for as long as the camera stays near.
type shadows struct {
	fine, coarse shadowMap
	still        []float32 // of fine, without what moves
	at           int64     // steps of shadowSnap that still and coarse are for
	ready        bool
	points       []vector
}

func newShadows(l *look) shadows {
	return shadows{
		fine:   newShadowMap(fineSize, fineTexel, .13, l.sun),
		coarse: newShadowMap(coarseSize, coarseTexel, .6, l.sun),
		still:  make([]float32, fineSize*fineSize),
	}
}

// cast draws the maps of a frame.
func (s *shadows) cast(w *world, v *view) {
	at := int64(math.Floor((v.camera.Z + shadowAhead) / shadowSnap))
	centre := vector{0, 0, float32(float64(at)*shadowSnap - v.origin)}
	s.fine.centre, s.coarse.centre = centre, centre.add(vector{0, 0, 40})
	if !s.ready || s.at != at {
		s.at, s.ready = at, true
		empty(s.fine.height)
		empty(s.coarse.height)
		for _, p := range w.around(float64(at)*shadowSnap-70, float64(at)*shadowSnap+110, v.origin) {
			s.piece(&s.fine, &p)
			s.piece(&s.coarse, &p)
		}
		copy(s.still, s.fine.height)
	} else {
		copy(s.fine.height, s.still)
	}
	for i := range w.pieces {
		if p := &w.pieces[i]; !p.still {
			s.piece(&s.fine, p)
		}
	}
}

func empty(heights []float32) {
	for i := range heights {
		heights[i] = bottomless
	}
}

// piece casts one piece.
func (s *shadows) piece(m *shadowMap, p *piece) {
	d := p.centre.sub(m.centre)
	reach := float32(m.size)/2*m.texel + p.radius
	if x, y := d.dot(m.right), d.dot(m.front); x > reach || x < -reach || y > reach || y < -reach {
		return
	}
	corners := p.mesh.corners[p.corners[0]:p.corners[1]]
	if cap(s.points) < len(corners) {
		s.points = make([]vector, 2*len(corners))
	}
	points := s.points[:len(corners)]
	shift, half := p.offset.sub(m.centre), float32(m.size)/2
	for i := range corners {
		d := corners[i].at.add(shift)
		points[i] = vector{d.dot(m.right)/m.texel + half, d.dot(m.front)/m.texel + half, d.dot(m.sun)}
	}
	for _, f := range p.mesh.faces[p.faces[0]:p.faces[1]] {
		a, b, c := points[f.a-p.corners[0]], points[f.b-p.corners[0]], points[f.c-p.corners[0]]
		if k := p.mesh.materials[f.material].kind; k == ground {
			continue
		}
		m.triangle(a, b, c)
	}
}

// triangle raises the map to a triangle: x and y are texels, z is metres towards the sun.
func (m *shadowMap) triangle(a, b, c vector) {
	if b.y < a.y {
		a, b = b, a
	}
	if c.y < a.y {
		a, c = c, a
	}
	if c.y < b.y {
		b, c = c, b
	}
	size := float32(m.size)
	if c.y < 0 || a.y > size || max(a.x, b.x, c.x) < 0 || min(a.x, b.x, c.x) > size {
		return
	}
	area := (b.x-a.x)*(c.y-a.y) - (c.x-a.x)*(b.y-a.y)
	if area > -1e-4 && area < 1e-4 {
		return
	}
	slopeX := ((b.z-a.z)*(c.y-a.y) - (c.z-a.z)*(b.y-a.y)) / area
	slopeY := ((c.z-a.z)*(b.x-a.x) - (b.z-a.z)*(c.x-a.x)) / area
	long := slope(a, c)
	upper, lower := slope(a, b), slope(b, c)
	for row, last := int(max(a.y, 0)+.5), int(min(c.y, size)+.5); row < last; row++ {
		y := float32(row) + .5
		from := a.x + (y-a.y)*long
		to := b.x + (y-b.y)*lower
		if y < b.y {
			to = a.x + (y-a.y)*upper
		}
		if to < from {
			from, to = to, from
		}
		start, end := int(max(from, 0)+.5), int(min(to, size)+.5)
		if start >= end {
			continue
		}
		z := a.z + (float32(start)+.5-a.x)*slopeX + (y-a.y)*slopeY
		line := m.height[row*m.size+start : row*m.size+end]
		for i := range line {
			if z > line[i] {
				line[i] = z
			}
			z += slopeX
		}
	}
}

func slope(a, b vector) float32 {
	if b.y == a.y {
		return 0
	}
	return (b.x - a.x) / (b.y - a.y)
}

// lit is the share of sunlight, 0 to 1, at texel x, y and height z. ok is false outside the map.
func (m *shadowMap) lit(x, y, z float32) (share float32, ok bool) {
	x, y = x-.5, y-.5
	limit := float32(m.size - 1)
	if !(x >= 0 && y >= 0 && x < limit && y < limit) {
		return 1, false
	}
	ix, iy := int(x), int(y)
	i := iy*m.size + ix
	upper := m.height[i : i+2 : i+2]
	lower := m.height[i+m.size : i+m.size+2]
	fx, fy := x-float32(ix), y-float32(iy)
	z += m.bias
	var a, b, c, d float32
	if z >= upper[0] {
		a = 1
	}
	if z >= upper[1] {
		b = 1
	}
	if z >= lower[0] {
		c = 1
	}
	if z >= lower[1] {
		d = 1
	}
	a, c = a+(b-a)*fx, c+(d-c)*fx
	return a + (c-a)*fy, true
}

// beam tells where the eye is in the map, and what a ray becomes there: a pixel at distance z along its ray is at
// at + z*project(ray), in texels, texels and metres.
func (m *shadowMap) beam(v *view) (at vector, project func(vector) vector) {
	half := float32(m.size) / 2
	project = func(d vector) vector {
		return vector{d.dot(m.right) / m.texel, d.dot(m.front) / m.texel, d.dot(m.sun)}
	}
	return project(v.eye.sub(m.centre)).add(vector{half, half, 0}), project
}
