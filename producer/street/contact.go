package street

// contactSeen is how far contact shadows are drawn, in metres.
const contactSeen = 45

// blob is the soft shadow of something that stands on the ground: an ellipse.
type blob struct {
	at         vector
	right, way vector // half axes, along the ground, metres
	strength   float32
}

// blobOf is the contact shadow of something of a half width and a half length at a pose.
func blobOf(p pose, wide, long, strength float32) blob {
	return blob{at: p.at, right: p.x.mul(wide), way: p.z.mul(long), strength: strength}
}

// blobs darkens the ground under what stands on it.
func (r *raster) blobs(v *view, blobs []blob) {
	for i := range blobs {
		b := &blobs[i]
		d := b.at.sub(v.eye)
		radius := b.right.length() + b.way.length()
		if d.dot(v.forward) < contactSeen && v.sees(b.at, radius) {
			r.blob(v, b)
		}
	}
}

// blob darkens the pixels of ground inside one ellipse.
func (r *raster) blob(v *view, b *blob) {
	left, right, top, bottom := float32(1e9), float32(-1e9), float32(1e9), float32(-1e9)
	for _, k := range [4][2]float32{{-1, -1}, {1, -1}, {-1, 1}, {1, 1}} {
		d := b.at.add(b.right.mul(k[0])).add(b.way.mul(k[1])).sub(v.eye)
		z := max(d.dot(v.forward), near)
		x, y := v.cx+v.focal*d.dot(v.right)/z, v.cy-v.focal*d.dot(v.up)/z
		left, right, top, bottom = min(left, x), max(right, x), min(top, y), max(bottom, y)
	}
	x0, x1 := int(clamp(left, 0, float32(r.width))), int(clamp(right+1, 0, float32(r.width)))
	y0, y1 := int(clamp(top, 0, float32(r.height))), int(clamp(bottom+1, 0, float32(r.height)))
	kr, kw := 1/b.right.dot(b.right), 1/b.way.dot(b.way)
	to := v.eye.sub(b.at)
	for y := y0; y < y1; y++ {
		up := v.up.mul((v.cy - float32(y) - .5) / v.focal).add(v.forward)
		for x := x0; x < x1; x++ {
			i := y*r.width + x
			if r.shown[r.top[i]].material == nil || r.shown[r.top[i]].material.kind != ground {
				continue
			}
			d := to.add(up.add(v.right.mul((float32(x) + .5 - v.cx) / v.focal)).mul(1 / r.near[i]))
			p, q := d.dot(b.right)*kr, d.dot(b.way)*kw
			if k := 1 - p*p - q*q; k > 0 && d.y < .25 && d.y > -.25 {
				dark := uint8(min(255*b.strength*k, 255))
				r.contact[i] = max(r.contact[i], dark)
			}
		}
	}
}
