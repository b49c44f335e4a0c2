package street

// random is a sequence of pseudo-random numbers (SplitMix64: Steele, Lea, Flood, 2014). Everything that differs from
// street to street is drawn from one that is keyed by the seed and by what is drawn for, never from shared state.
type random struct{ state uint64 }

// newRandom begins a sequence for seed, a topic, and an index within it.
func newRandom(seed, topic, index uint64) random {
	return random{mix(mix(mix(seed+0x9e3779b97f4a7c15)+topic*0xd1b54a32d192ed03) + index*0x8cb92ba72f3d8dd7)}
}

func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

func (r *random) next() uint64 {
	r.state += 0x9e3779b97f4a7c15
	return mix(r.state)
}

// unit is from 0 to below 1.
func (r *random) unit() float32 { return float32(r.next()>>40) / (1 << 24) }

// between is from low to below high.
func (r *random) between(low, high float32) float32 { return low + (high-low)*r.unit() }

// below is from 0 to n-1.
func (r *random) below(n int) int { return int(r.next() >> 33 % uint64(n)) }

// chance is true with probability p.
func (r *random) chance(p float32) bool { return r.unit() < p }

// noise2 is a smooth value from 0 to 1 that repeats every period whole steps of x and y.
func noise2(seed uint64, x, y float32, period int) float32 {
	ix, iy := int(x), int(y)
	fx, fy := x-float32(ix), y-float32(iy)
	fx, fy = fx*fx*(3-2*fx), fy*fy*(3-2*fy)
	at := func(x, y int) float32 {
		return float32(mix(seed+uint64(x%period)*0x9e3779b97f4a7c15+uint64(y%period)*0xd1b54a32d192ed03)>>40) / (1 << 24)
	}
	a, b := at(ix, iy), at(ix+1, iy)
	c, d := at(ix, iy+1), at(ix+1, iy+1)
	a, c = a+(b-a)*fx, c+(d-c)*fx
	return a + (c-a)*fy
}

// clouds sums octaves of noise2 and is from 0 to 1; x and y are shares of the tile, 0 to 1.
func clouds(seed uint64, x, y float32, period, octaves int) float32 {
	sum, weight, total := float32(0), float32(1), float32(0)
	for i := range octaves {
		p := period << i
		sum += weight * noise2(seed+uint64(i)*77, x*float32(p), y*float32(p), p)
		total += weight
		weight /= 2
	}
	return sum / total
}
