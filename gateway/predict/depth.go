package predict

import (
	"slices"

	"github.com/spatial-flow/spatial-flow/flow/depthmap"
)

// rawDepth is a depth map resized to some size, in samples: larger samples are larger values.
type rawDepth struct {
	m             *depthmap.Map
	samples       []uint16 // width × height
	width, height int
	low, high     uint16
}

// resize makes a map of width × height out of samples.
func resize(m *depthmap.Map, samples []uint16, width, height int) rawDepth {
	return rawDepth{
		m: m, samples: depthmap.Upsample(samples, m.Width, m.Height, width, height), width: width, height: height,
		low: slices.Min(samples), high: slices.Max(samples),
	}
}

// median is the median value in a box, in pixels of the map, clipped to it; at least one pixel counts.
func (r rawDepth) median(box [4]float32) float32 {
	clip := func(v float32, most int) int { return min(max(int(v), 0), most) }
	left, top := clip(box[0], r.width-1), clip(box[1], r.height-1)
	right, bottom := max(clip(box[2], r.width), left+1), max(clip(box[3], r.height), top+1)
	counts := make([]int, int(r.high)+1)
	for y := top; y < bottom; y++ {
		for _, s := range r.samples[y*r.width+left : y*r.width+right] {
			counts[s]++
		}
	}
	n := (right - left) * (bottom - top)
	return (r.m.Value(rank(counts, (n-1)/2)) + r.m.Value(rank(counts, n/2))) / 2
}

func rank(counts []int, rank int) uint16 {
	for sample, n := range counts {
		if rank < n {
			return uint16(sample)
		}
		rank -= n
	}
	return uint16(len(counts) - 1) // not reached: the counts add up to more than rank
}

// grey is the map from its least to its greatest value as a grey JPEG.
func (r rawDepth) grey() ([]byte, error) {
	span := max(int(r.high)-int(r.low), 1)
	var shades [1 << 16]uint8
	for s := int(r.low); s <= int(r.high); s++ {
		shades[s] = uint8(((s-int(r.low))*255 + span/2) / span)
	}
	return encodeGrey(r.width, r.height, func(pixels []byte, top, bottom int) {
		for i, sample := range r.samples[top*r.width : bottom*r.width] {
			pixels[i] = shades[sample]
		}
	})
}
