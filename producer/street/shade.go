package street

import (
	"encoding/binary"
	"math"
)

const (
	toneSteps  = 1024 // per unit of light
	toneMost   = 4    // units of light
	fogSteps   = 4    // per metre
	fogMost    = 256  // metres
	noiseBits  = 14
	skyLevel   = 1
	ditherSize = 64 // pixels that a pattern of noise takes
	lodSegment = 16 // pixels of a row that share a size of texture
)

// tables are functions of one value that are asked for every pixel.
type tables struct {
	tone  [toneSteps*toneMost + 1]uint8
	fog   [fogSteps*fogMost + 1]float32
	noise [1 << noiseBits]int8
	blur  [ditherSize * ditherSize]float32 // texels that shadows are looked up aside
}

func newTables(l *look) *tables {
	t := new(tables)
	for i := range t.tone {
		x := float64(i) / toneSteps * 1.3
		t.tone[i] = uint8(255*min(1, math.Pow(1.12*x*(1+x/5)/(1+x), 1/1.95)) + .5)
	}
	for i := range t.fog {
		d := float64(i) / fogSteps * float64(l.fog)
		t.fog[i] = float32(1 - math.Exp(-d*min(1, d+.3)))
	}
	r := newRandom(l.seed, topicNoise, 0)
	for i := range t.noise {
		sum := r.unit() + r.unit() + r.unit() + r.unit() - 2 // nearly normal, deviation 0.577
		t.noise[i] = int8(clamp(sum*l.noise/.577, -100, 100))
	}
	for i := range t.blur {
		t.blur[i] = r.between(-.4, .4)
	}
	return t
}

// shader is what stays the same over a frame.
type shader struct {
	*tables
	look         *look
	view         *view
	fine, coarse *shadowMap
	fineAt       vector // of the eye, in texels
	coarseAt     vector
	fineOf       func(vector) vector
	coarseOf     func(vector) vector
	drift        float32 // of the clouds
	contact      []uint8
}

// row is what stays the same over a row.
type rowLight struct {
	ray                        vector // of the row's first pixel
	fine, fineStep             vector
	coarse, coarseStep         vector
	noise, noiseRed, noiseBlue int
	y                          int
}

// shade turns what the raster found into light, and writes the picture and the depth.
func (s *Street) shade(n uint64, v *view, f *Frame) {
	if s.tables == nil {
		s.tables = newTables(&s.look)
	}
	sh := shader{tables: s.tables, look: &s.look, view: v, fine: &s.shadow.fine, coarse: &s.shadow.coarse, contact: s.raster.contact}
	sh.fineAt, sh.fineOf = sh.fine.beam(v)
	sh.coarseAt, sh.coarseOf = sh.coarse.beam(v)
	sh.drift = fraction(float32(math.Mod(float64(n)/s.cfg.FPS*.0015, 1))) + 100
	width := s.cfg.Width
	step := v.right.mul(1 / v.focal)
	fineStep, coarseStep := sh.fineOf(step), sh.coarseOf(step)
	for y := range s.cfg.Height {
		ray := v.forward.add(v.right.mul((.5 - v.cx) / v.focal)).add(v.up.mul((v.cy - float32(y) - .5) / v.focal))
		grain := newRandom(s.look.seed, topicNoise+n<<8, uint64(y)).state
		row := rowLight{
			ray: ray, fine: sh.fineOf(ray), fineStep: fineStep, coarse: sh.coarseOf(ray), coarseStep: coarseStep, y: y,
			noise: int(grain & 0xffff), noiseRed: int(grain >> 16 & 0xffff), noiseBlue: int(grain >> 32 & 0xffff),
		}
		pixels := f.Image.Pix[y*f.Image.Stride : y*f.Image.Stride+4*width]
		depth := f.Depth[y*width : (y+1)*width]
		top := s.raster.top[y*width : (y+1)*width]
		for x := 0; x < width; {
			end := x + 1
			for end < width && top[end] == top[x] {
				end++
			}
			if top[x] == 0 {
				sh.sky(&row, pixels, depth, x, end)
			} else {
				t := &s.raster.shown[top[x]]
				for ; x < end; x += lodSegment {
					sh.segment(&row, t, pixels, depth, x, min(x+lodSegment, end))
				}
			}
			x = end
		}
	}
	s.soften(f)
}

// soften blends the two pixels on either side of an outline, as a lens does: boxes and depth stay exact.
func (s *Street) soften(f *Frame) {
	width, height := s.cfg.Width, s.cfg.Height
	pix, top, shown := f.Image.Pix, s.raster.top, s.raster.shown
	for y := range height {
		for x := range width {
			i := y*width + x
			a := &shown[top[i]]
			if x+1 < width && top[i+1] != top[i] {
				if b := &shown[top[i+1]]; a.object != b.object || a.material != b.material {
					mingle(pix[4*i:4*i+4], pix[4*i+4:4*i+8])
				}
			}
			if y+1 < height && top[i+width] != top[i] {
				if b := &shown[top[i+width]]; a.object != b.object || a.material != b.material {
					mingle(pix[4*i:4*i+4], pix[4*(i+width):4*(i+width)+4])
				}
			}
		}
	}
}

// mingle moves two pixels towards each other.
func mingle(p, q []uint8) {
	const pairs = 0x00ff00ff
	a, b := binary.LittleEndian.Uint32(p), binary.LittleEndian.Uint32(q)
	low, high := a&pairs, a>>8&pairs
	lowB, highB := b&pairs, b>>8&pairs
	a = (low*11+lowB*5)>>4&pairs | (high*11+highB*5)>>4&pairs<<8
	b = (low*5+lowB*11)>>4&pairs | (high*5+highB*11)>>4&pairs<<8
	binary.LittleEndian.PutUint32(p, a)
	binary.LittleEndian.PutUint32(q, b)
}

// level is the size of texture that fits the middle of a segment.
func (t *shown) level(x, y float32) int {
	n := t.near + t.nearX*x + t.nearY*y
	z := 1 / n
	u, v := (t.u+t.uX*x+t.uY*y)*z, (t.v+t.vX*x+t.vY*y)*z
	ux, vx := (t.uX-u*t.nearX)*z, (t.vX-v*t.nearX)*z
	uy, vy := (t.uY-u*t.nearY)*z, (t.vY-v*t.nearY)*z
	a, b := ux*ux+vx*vx, uy*uy+vy*vy
	texels := (.7*max(a, b) + .3*min(a, b)) * (texSize * texSize)
	if !(texels > 1) {
		return 0
	}
	// Half the exponent of the square, rounded: the binary logarithm of the step between two pixels, in texels.
	return min(int(math.Float32bits(texels*.7)>>23-126)/2, texBits)
}

// segment shades a few pixels of one triangle in one row.
func (sh *shader) segment(row *rowLight, t *shown, pixels []uint8, depth []float32, x, end int) {
	dx, dy := float32(int32(x)-t.x), float32(int32(row.y)-t.y)
	level := t.level(dx+float32(end-x)*.5, dy)
	near, u, v := t.near+t.nearX*dx+t.nearY*dy, t.u+t.uX*dx+t.uY*dy, t.v+t.vX*dx+t.vY*dy
	sun, sky := t.sun+t.sunX*dx+t.sunY*dy, t.sky+t.skyX*dx+t.skyY*dy
	m, l := t.material, sh.look
	contact := sh.contact[row.y*sh.view.width:]
	for ; x < end; x++ {
		z := 1 / near
		depth[x] = z
		texel := m.texture.sample(u*z, v*z, level)
		direct := sun * z
		if direct > 0 {
			direct *= sh.lit(row, float32(x), z)
		} else {
			direct = 0
		}
		ambient := sky * z
		if c := contact[x]; c != 0 {
			k := 1 - float32(c)*(1./255)
			ambient *= k
			direct *= .4 + .6*k
		}
		red := float32(uint32(texel)&255) * m.tint[0]
		green := float32(uint32(texel)>>16) * m.tint[1]
		blue := float32(uint32(texel>>32)&255) * m.tint[2]
		fog := sh.fog[min(uint32(z*fogSteps), fogSteps*fogMost)]
		clear := 1 - fog
		red = red*red*(ambient*l.skylight[0]+direct*l.sunlight[0])*clear + fog*l.horizon[0]
		green = green*green*(ambient*l.skylight[1]+direct*l.sunlight[1])*clear + fog*l.horizon[1]
		blue = blue*blue*(ambient*l.skylight[2]+direct*l.sunlight[2])*clear + fog*l.horizon[2]
		sh.put(row, pixels, x, red, green, blue)
		near += t.nearX
		u += t.uX
		v += t.vX
		sun += t.sunX
		sky += t.skyX
	}
}

// lit is the share of sunlight at a pixel.
func (sh *shader) lit(row *rowLight, x, z float32) float32 {
	a, d, k := &sh.fineAt, &row.fine, &row.fineStep
	i := row.y%ditherSize*ditherSize + int(x)%ditherSize
	if lit, ok := sh.fine.lit(a.x+z*(d.x+x*k.x)+sh.blur[i], a.y+z*(d.y+x*k.y)+sh.blur[i^21], a.z+z*(d.z+x*k.z)); ok {
		return lit
	}
	a, d, k = &sh.coarseAt, &row.coarse, &row.coarseStep
	lit, _ := sh.coarse.lit(a.x+z*(d.x+x*k.x), a.y+z*(d.y+x*k.y), a.z+z*(d.z+x*k.z))
	return lit
}

// put develops a pixel: tone curve and sensor noise.
func (sh *shader) put(row *rowLight, pixels []uint8, x int, red, green, blue float32) {
	const most, mask = toneSteps * toneMost, 1<<noiseBits - 1
	noise := int(sh.noise[(row.noise+x)&mask])
	r := int(sh.tone[min(uint32(red*toneSteps), most)]) + noise + int(sh.noise[(row.noiseRed+x)&mask])>>1
	g := int(sh.tone[min(uint32(green*toneSteps), most)]) + noise
	b := int(sh.tone[min(uint32(blue*toneSteps), most)]) + noise + int(sh.noise[(row.noiseBlue+x)&mask])>>1
	r, g, b = min(max(r, 0), 255), min(max(g, 0), 255), min(max(b, 0), 255)
	binary.LittleEndian.PutUint32(pixels[4*x:], uint32(r)|uint32(g)<<8|uint32(b)<<16|0xff000000)
}

// sky fills a run with sky.
func (sh *shader) sky(row *rowLight, pixels []uint8, depth []float32, x, end int) {
	l := sh.look
	up := clamp(row.ray.y, 0, 1)
	k := min(1, up*2.2)
	k = k * (2 - k)
	var colour [3]float32
	for i := range colour {
		colour[i] = l.horizon[i] + (l.zenith[i]-l.horizon[i])*k
	}
	fade := clamp((up-.02)*8, 0, 1)
	scale := .11 / max(row.ray.y, .02)
	step := sh.view.right.mul(scale / sh.view.focal)
	inf := float32(math.Inf(1))
	for ; x < end; x++ {
		depth[x] = inf
		c := colour
		if fade > 0 {
			density := float32(uint32(l.sky.sample(row.ray.x*scale+step.x*float32(x)+sh.drift, row.ray.z*scale+step.z*float32(x)+100, skyLevel))&255) / 255
			cloud := clamp((density-.75+.5*l.cover)*4, 0, 1) * fade
			for i := range c {
				c[i] += (1.5 - .3*density - c[i]) * cloud * .85
			}
		}
		sh.put(row, pixels, x, c[0], c[1], c[2])
	}
}
