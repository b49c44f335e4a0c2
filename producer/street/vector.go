package street

import "math"

// vector is a point or a direction: x right, y up, z along the street, in metres.
type vector struct{ x, y, z float32 }

func (a vector) add(b vector) vector             { return vector{a.x + b.x, a.y + b.y, a.z + b.z} }
func (a vector) sub(b vector) vector             { return vector{a.x - b.x, a.y - b.y, a.z - b.z} }
func (a vector) mul(k float32) vector            { return vector{a.x * k, a.y * k, a.z * k} }
func (a vector) dot(b vector) float32            { return a.x*b.x + a.y*b.y + a.z*b.z }
func (a vector) length() float32                 { return sqrt(a.dot(a)) }
func (a vector) lerp(b vector, k float32) vector { return a.add(b.sub(a).mul(k)) }

func (a vector) cross(b vector) vector {
	return vector{a.y*b.z - a.z*b.y, a.z*b.x - a.x*b.z, a.x*b.y - a.y*b.x}
}

func (a vector) unit() vector {
	if l := a.length(); l > 1e-12 {
		return a.mul(1 / l)
	}
	return vector{0, 1, 0}
}

// pose is a rotation and where its origin goes.
type pose struct {
	x, y, z vector // the turned axes
	at      vector
}

// upright is a pose that looks along yaw, in radians to the right of the street's direction.
func upright(at vector, yaw float32) pose {
	s, c := sincos(yaw)
	return pose{x: vector{c, 0, -s}, y: vector{0, 1, 0}, z: vector{s, 0, c}, at: at}
}

func (p *pose) point(v vector) vector { return p.turn(v).add(p.at) }

func (p *pose) turn(v vector) vector {
	return vector{
		p.x.x*v.x + p.y.x*v.y + p.z.x*v.z,
		p.x.y*v.x + p.y.y*v.y + p.z.y*v.z,
		p.x.z*v.x + p.y.z*v.y + p.z.z*v.z,
	}
}

// leaned is the pose turned about its own z axis.
func (p pose) leaned(angle float32) pose {
	s, c := sincos(angle)
	return pose{x: p.x.mul(c).add(p.y.mul(s)), y: p.y.mul(c).sub(p.x.mul(s)), z: p.z, at: p.at}
}

func sqrt(x float32) float32 { return float32(math.Sqrt(float64(x))) }

func sincos(a float32) (s, c float32) {
	ds, dc := math.Sincos(float64(a))
	return float32(ds), float32(dc)
}

func clamp(x, low, high float32) float32 { return min(max(x, low), high) }

func radians(degrees float32) float32 { return degrees * math.Pi / 180 }
