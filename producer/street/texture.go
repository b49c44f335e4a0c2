package street

// Textures are square, repeat, and are kept at all sizes down to one texel, so that what is far does not shimmer.
const (
	texBits = 7
	texSize = 1 << texBits // texels a side
)

// lanes spreads 8-bit channels over 16 bits each, red lowest, so that three of them are blended at once.
const lanes = 0x00ff00ff00ff00ff

// texture holds square roots of linear reflectance (gamma 2), as the tint it is multiplied with does.
type texture struct{ levels [texBits + 1][]uint64 }

// newTexture asks paint for every texel; x and y are shares of the tile, the colour is 0 to 1 in gamma 2.
func newTexture(paint func(x, y float32) (r, g, b float32)) *texture {
	t := new(texture)
	base := make([]uint64, texSize*texSize)
	for y := range texSize {
		for x := range texSize {
			r, g, b := paint((float32(x)+.5)/texSize, (float32(y)+.5)/texSize)
			base[y<<texBits|x] = uint64(clamp(r, 0, 1)*255) | uint64(clamp(g, 0, 1)*255)<<16 | uint64(clamp(b, 0, 1)*255)<<32
		}
	}
	t.levels[0] = base
	for level := 1; level <= texBits; level++ {
		bits := texBits - level
		above, next := t.levels[level-1], make([]uint64, 1<<(2*bits))
		for y := range 1 << bits {
			for x := range 1 << bits {
				i := (2*y)<<(bits+1) | 2*x
				sum := above[i] + above[i+1] + above[i+2<<bits] + above[i+2<<bits+1]
				next[y<<bits|x] = sum >> 2 & lanes
			}
		}
		t.levels[level] = next
	}
	return t
}

// grey makes a texture of one channel.
func grey(paint func(x, y float32) float32) *texture {
	return newTexture(func(x, y float32) (r, g, b float32) {
		v := paint(x, y)
		return v, v, v
	})
}

// sample blends the four texels around u, v, which count tiles.
func (t *texture) sample(u, v float32, level int) uint64 {
	bits := uint(texBits-level) & 15
	scale := float32(uint32(256) << bits)
	x, y := int32(u*scale), int32(v*scale)
	fx, fy := uint64(x&255), uint64(y&255)
	mask := int32(1)<<bits - 1
	x, y = x>>8, y>>8
	x0, x1 := x&mask, (x+1)&mask
	y0, y1 := (y&mask)<<bits, ((y+1)&mask)<<bits
	texels := t.levels[level&7]
	a, b := texels[y0|x0], texels[y0|x1]
	c, d := texels[y1|x0], texels[y1|x1]
	a = (a*(256-fx) + b*fx) >> 8 & lanes
	c = (c*(256-fx) + d*fx) >> 8 & lanes
	return (a*(256-fy) + c*fy) >> 8 & lanes
}

// fraction is what is left of x over whole numbers, for x from 0.
func fraction(x float32) float32 { return x - float32(int(x)) }

// cell numbers the tile that x, y is in, of n by m, and tells how far from its edge, 0 at the edge to 1 in its middle.
func cell(x, y float32, n, m int, shift float32) (id uint64, edge float32) {
	row := int(y * float32(m))
	x = fraction(x + shift*float32(row%2)/float32(n))
	column := int(x * float32(n))
	fx, fy := fraction(x*float32(n)), fraction(y*float32(m))
	ex := min(fx, 1-fx) / float32(n)
	ey := min(fy, 1-fy) / float32(m)
	return uint64(row*64 + column), min(ex, ey) * 2 * float32(max(n, m))
}

// share of a hash, 0 to below 1.
func hashed(seed, id uint64) float32 { return float32(mix(seed+id*0x9e3779b97f4a7c15)>>40) / (1 << 24) }

// masonry is a wall or a pavement of n by m stones with joints.
func masonry(seed uint64, n, m int, shift, joint, vary float32) *texture {
	return grey(func(x, y float32) float32 {
		id, edge := cell(x, y, n, m, shift)
		v := .78 + vary*(hashed(seed, id)-.5) + .16*(clouds(seed, x, y, 8, 4)-.5)
		if edge < joint {
			v = .52 + .1*clouds(seed+5, x, y, 16, 2)
		} else if edge < 2*joint {
			v += .06
		}
		return v
	})
}

// rough is asphalt, plaster and the like: grain over stains.
func rough(seed uint64, grain, stain float32) *texture {
	return grey(func(x, y float32) float32 {
		return .76 + grain*(clouds(seed, x, y, 32, 2)-.5) + stain*(clouds(seed+9, x, y, 3, 3)-.5)
	})
}

// planks run along y.
func planks(seed uint64, n int) *texture {
	return grey(func(x, y float32) float32 {
		id, edge := cell(x, y, n, 1, 0)
		v := .72 + .25*(hashed(seed, id)-.5) + .2*(clouds(seed+id, x*4-float32(int(x*4)), y, 2, 4)-.5)
		if edge < .08 {
			v *= .6
		}
		return v
	})
}

// heap is leaves, fruit, gravel: round things side by side.
func heap(seed uint64, n int, dark float32) *texture {
	return newTexture(func(x, y float32) (r, g, b float32) {
		best, id := float32(9), uint64(0)
		for dy := -1; dy <= 1; dy++ {
			for dx := -1; dx <= 1; dx++ {
				cx, cy := int(x*float32(n))+dx, int(y*float32(n))+dy
				k := uint64((cx+n)%n*64 + (cy+n)%n)
				px := (float32(cx) + .5 + .6*(hashed(seed, k)-.5)) / float32(n)
				py := (float32(cy) + .5 + .6*(hashed(seed+1, k)-.5)) / float32(n)
				if d := ((x-px)*(x-px) + (y-py)*(y-py)) * float32(n*n); d < best {
					best, id = d, k
				}
			}
		}
		v := 1 - dark*min(best*1.6, 1)
		h := hashed(seed+2, id)
		return v * (.8 + .2*h), v * (.78 + .2*hashed(seed+3, id)), v * (.72 + .2*h)
	})
}
