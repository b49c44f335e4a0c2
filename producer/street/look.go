package street

// look is everything about a street that its chunks and its traffic share: light, air, and what things are made of.
type look struct {
	seed  uint64
	split Split

	sun                vector     // towards it
	sunlight, skylight [3]float32 // linear, reflected by white
	zenith, horizon    [3]float32 // linear colours of the sky
	cover              float32    // share of the sky under clouds
	fog                float32    // 1/metres
	noise              float32    // standard deviation of the sensor's noise, of 255

	plain                             *texture
	cloth, wall                       []*texture
	road, pavement, wood, leaf, fruit *texture
	glass, sky                        *texture
}

// Topics that numbers are drawn for.
const (
	topicLight = iota + 1
	topicTexture
	topicCamera
	topicLayout
	topicChunk
	topicLane
	topicNoise
	topicStroll
)

func newLook(cfg Config) look {
	seed := mix(cfg.Seed + 0x51ed2701)
	switch cfg.Split {
	case Train:
		seed = mix(seed + 1)
	case HeldOut:
		seed = mix(seed + 2)
	}
	l := look{seed: seed, split: cfg.Split}
	l.light()
	l.paint()
	return l
}

// pool is which of the two disjoint pools something is drawn from: 0 while training, 1 when held out.
func (l *look) pool(r *random) int {
	side := int(r.next() >> 63)
	switch l.split {
	case Train:
		return 0
	case HeldOut:
		return 1
	}
	return side
}

// slot is a value from low to high out of the pool's own intervals: the range is cut into 2n, and the pools take turns.
func (l *look) slot(r *random, n int, low, high float32) float32 {
	side := l.pool(r)
	return low + (high-low)*(float32(2*r.below(n)+side)+r.unit())/float32(2*n)
}

// tint is a colour of paint, cloth, fur or plastic: every class and everything else takes its colours from here.
func (l *look) tint(r *random) [3]float32 {
	hue := l.slot(r, 12, 0, 6)
	value := l.slot(r, 6, .22, .95)
	saturation := r.between(.3, .75)
	switch kind := r.unit(); {
	case kind < .3:
		saturation = r.between(0, .12)
	case kind < .65: // earth, leather, skin, fur
		hue, saturation = l.slot(r, 4, .2, .9), r.between(.25, .6)
	}
	return hsv(hue, saturation, value)
}

// hsv turns hue (0 to 6), saturation and value into red, green and blue.
func hsv(hue, saturation, value float32) [3]float32 {
	channel := func(offset float32) float32 {
		k := hue + offset
		if k >= 6 {
			k -= 6
		}
		return value - value*saturation*clamp(min(k, 4-k), 0, 1)
	}
	return [3]float32{channel(5), channel(3), channel(1)}
}

// light draws the time of day, the weather and the sensor.
func (l *look) light() {
	r := newRandom(l.seed, topicLight, 0)
	elevation, azimuth := radians(r.between(22, 62)), radians(r.between(-65, 65))
	if r.chance(.4) {
		azimuth += radians(180) // the sun is behind the camera
	}
	se, ce := sincos(elevation)
	sa, ca := sincos(azimuth)
	l.sun = vector{ce * sa, se, ce * ca}
	overcast := r.between(0, .35)
	if r.chance(.25) {
		overcast = r.between(.6, .9)
	}
	warm := clamp((radians(45)-elevation)/radians(25), 0, 1) * r.between(.5, 1)
	strength := (1 - overcast) * r.between(1.75, 2.2)
	l.sunlight = [3]float32{strength, strength * (.95 - .17*warm), strength * (.86 - .38*warm)}
	ambient := r.between(.5, .64) + .5*overcast
	l.skylight = [3]float32{ambient * (.82 + .14*overcast), ambient * (.94 + .04*overcast), ambient * (1.16 - .16*overcast)}
	blue := 1 - overcast
	l.zenith = [3]float32{.8 - .62*blue, .86 - .42*blue, .96 + .04*blue}
	l.horizon = [3]float32{1.05 - .2*blue + .34*warm, 1.08 - .08*blue + .02*warm, 1.14 + .06*blue - .3*warm}
	l.cover = r.between(.2, .7) + .3*overcast
	l.fog = 1 / r.between(120, 300)
	l.noise = r.between(1, 3.2)
}

// paint draws the textures: the two pools have other kinds, and other numbers where the kind is the same.
func (l *look) paint() {
	r := newRandom(l.seed, topicTexture, 0)
	l.plain = grey(func(x, y float32) float32 { return .97 + .03*clouds(l.seed, x, y, 4, 2) })
	for range 6 {
		l.cloth = append(l.cloth, clothTexture(l.pool(&r), &r))
	}
	for range 5 {
		l.wall = append(l.wall, wallTexture(l.pool(&r), &r))
	}
	if l.pool(&r) == 0 {
		l.road = rough(r.next(), r.between(.12, .25), r.between(.1, .3))
		l.pavement = masonry(r.next(), 4+r.below(3), 4+r.below(3), .5, .04, .15)
		l.wood = planks(r.next(), 5)
	} else {
		l.road = masonry(r.next(), 12, 12, .5, .18, .2)
		l.pavement = masonry(r.next(), 8, 3, 0, .05, .22)
		l.wood = planks(r.next(), 8)
	}
	l.leaf, l.fruit = heap(r.next(), 9+l.pool(&r)*3, .55), heap(r.next(), 6+l.pool(&r)*2, .6)
	seed := r.next()
	l.glass = grey(func(x, y float32) float32 { // the sky above, the street below
		return .3 + .62*clamp(1.15-1.5*y-.5*(clouds(seed, x, y, 3, 2)-.5), 0, 1)
	})
	l.sky = grey(func(x, y float32) float32 { return clouds(seed+3, x, y, 4, 5) })
}

// clothTexture is a pattern of cloth, paint or fur.
func clothTexture(pool int, r *random) *texture {
	seed, contrast := r.next(), r.between(.12, .4)
	n := float32(2 + r.below(4))
	kind := r.below(4)
	fine := func(x, y float32) float32 { return .94 + .06*clouds(seed, x, y, 16, 2) }
	switch {
	case kind == 0 && pool == 0:
		return grey(fine)
	case kind == 0:
		return grey(func(x, y float32) float32 { return .92 + .08*clouds(seed, fraction(x+y), y, 24, 2) })
	case kind == 1 && pool == 0: // stripes across
		return grey(func(x, y float32) float32 { return fine(x, y) - contrast*step(fraction(y*n)-.5) })
	case kind == 1: // stripes along
		return grey(func(x, y float32) float32 { return fine(x, y) - contrast*step(fraction(x*2*n)-.6) })
	case kind == 2 && pool == 0: // plaid
		return grey(func(x, y float32) float32 {
			return fine(x, y) - contrast/2*(step(fraction(x*n)-.5)+step(fraction(y*n)-.5))
		})
	case kind == 2: // chequers
		return grey(func(x, y float32) float32 {
			return fine(x, y) - contrast*step((fraction(x*n)-.5)*(fraction(y*n)-.5))
		})
	case pool == 0: // blotches
		return grey(func(x, y float32) float32 { return fine(x, y) - contrast*step(clouds(seed+1, x, y, 3, 3)-.5) })
	}
	return grey(func(x, y float32) float32 { // dots
		fx, fy := fraction(x*2*n)-.5, fraction(y*2*n)-.5
		return fine(x, y) - contrast*step(.08-fx*fx-fy*fy)
	})
}

// wallTexture is the face of a house: one tile is 3 m.
func wallTexture(pool int, r *random) *texture {
	seed := r.next()
	switch kind := r.below(3); {
	case kind == 0 && pool == 0:
		return masonry(seed, 10, 24+2*r.below(4), .5, .12, .25) // bricks
	case kind == 0:
		return masonry(seed, 4, 7, .5, .05, .3) // blocks
	case kind == 1 && pool == 0:
		return rough(seed, .08, r.between(.1, .25)) // plaster
	case kind == 1:
		return planks(seed, 12) // boards
	case pool == 0:
		return masonry(seed, 6, 12, .3, .06, .35) // rubble
	}
	return rough(seed, .25, .08) // roughcast
}

func step(x float32) float32 {
	if x > 0 {
		return 1
	}
	return 0
}
