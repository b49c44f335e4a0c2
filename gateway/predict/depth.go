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

// resize makes a map of width × height out of samples, bilinearly, corners of pixels on corners of pixels.
func resize(m *depthmap.Map, samples []uint16, width, height int) rawDepth {
	r := rawDepth{m: m, samples: samples, width: width, height: height}
	r.low, r.high = slices.Min(samples), slices.Max(samples)
	if m.Width == width && m.Height == height {
		return r
	}
	columns := make([]place, width)
	for x := range columns {
		columns[x] = placeAt(x, width, m.Width)
	}
	r.samples = make([]uint16, width*height)
	_ = inStrips(height, func(top, bottom int) error {
		upper, lower := wideRow{at: -1, values: make([]uint32, width)}, wideRow{at: -1, values: make([]uint32, width)}
		for y := top; y < bottom; y++ {
			p := placeAt(y, height, m.Height)
			if lower.at == p.at {
				upper, lower = lower, upper
			}
			upper.stretch(samples, m.Width, p.at, columns)
			lower.stretch(samples, m.Width, p.next, columns)
			blend(r.samples[y*width:(y+1)*width], upper.values, lower.values, p.share)
		}
		return nil
	})
	return r
}

// wideRow is a row of the smaller picture at the larger one's width, in samples × one.
type wideRow struct {
	at     int // which row; -1: none yet
	values []uint32
}

// stretch makes it row at of samples, whose rows have width; nothing is to be done when it is that already.
func (r *wideRow) stretch(samples []uint16, width, at int, columns []place) {
	if r.at == at {
		return
	}
	r.at = at
	row := samples[at*width : (at+1)*width]
	values := r.values[:len(columns)]
	for x, c := range columns {
		values[x] = uint32(row[c.at])*(one-c.share) + uint32(row[c.next])*c.share
	}
}

// blend makes a row between two wide ones, share of one towards the lower.
func blend(row []uint16, upper, lower []uint32, share uint32) {
	upper, lower = upper[:len(row)], lower[:len(row)]
	above, below := uint64(one-share), uint64(share)
	for x := range row {
		row[x] = uint16((uint64(upper[x])*above + uint64(lower[x])*below + one*one/2) / (one * one))
	}
}

// place is where a pixel of the larger picture lies between two of the smaller; share of one is the next's weight.
type place struct {
	at, next int
	share    uint32
}

const one = 1 << 11

func placeAt(i, large, small int) place {
	middle := max(0, (float64(i)+.5)*float64(small)/float64(large)-.5)
	at := min(int(middle), small-1)
	return place{at, min(at+1, small-1), uint32((middle - float64(at)) * one)}
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
