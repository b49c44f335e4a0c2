package join

import (
	"math"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
)

const (
	// rangeWeight is how much one map moves a source's stable range: about 20 maps to follow a change.
	rangeWeight = 0.05
	lowQuantile = 0.02
	topQuantile = 0.98
	// innerShare is the part of a box, in each direction and in its middle, whose median is the box's depth:
	// the rim of a box is mostly background.
	innerShare = 0.5
)

// MoveRange moves a source's stable range towards the 2nd and 98th percentile of one more map. A nil range begins there.
func MoveRange(last *depthmap.Range, d *depthmap.Map, samples []uint16) *depthmap.Range {
	all := window{samples: samples, stride: d.Width, right: d.Width, bottom: d.Height}
	low, top := all.quantiles(lowQuantile, topQuantile)
	now := depthmap.Range{Low: d.Value(low), High: d.Value(top)}
	if last == nil {
		return &now
	}
	towards := func(from, to float32) float32 { // as float64: no difference of two float32 overflows
		return float32(float64(from) + rangeWeight*(float64(to)-float64(from)))
	}
	return &depthmap.Range{Low: towards(last.Low, now.Low), High: towards(last.High, now.High)}
}

// boxDepth is the median depth in the inner part of a box. The box is in pixels of a picture of width × height,
// which the map covers whole, at its own resolution. At least one sample counts.
func boxDepth(d *depthmap.Map, samples []uint16, box [4]float32, width, height int, stable depthmap.Range) *flow.BoxDepth {
	left, right := innerSamples(box[0], box[2], float64(d.Width)/float64(width), d.Width)
	top, bottom := innerSamples(box[1], box[3], float64(d.Height)/float64(height), d.Height)
	w := window{samples: samples, stride: d.Width, left: left, top: top, right: right, bottom: bottom}
	value := d.Value(w.quantile(0.5))
	return &flow.BoxDepth{Value: value, Kind: d.Kind, Nearness: stable.Nearness(d.Kind, value)}
}

// innerSamples maps the middle innerShare of [low, high] in pixels to samples [from, to) of 0 to size.
func innerSamples(low, high float32, scale float64, size int) (from, to int) {
	middle, half := float64(low+high)/2, float64(high-low)/2*innerShare
	from = min(max(int(math.Floor((middle-half)*scale)), 0), size-1)
	to = min(max(int(math.Ceil((middle+half)*scale)), from+1), size)
	return from, to
}

// window is a rectangle of a map: columns [left, right), rows [top, bottom), never empty.
type window struct {
	samples                  []uint16
	stride                   int
	left, top, right, bottom int
}

// quantile is the sample at rank q × (n-1), rounded down.
func (w window) quantile(q float64) uint16 {
	sample, _ := w.quantiles(q, q)
	return sample
}

// lanes is how many counters a sample's high byte has: neighbours are alike, and one counter would be waited for by each.
const lanes = 4

// quantiles are the samples at the ranks low × (n-1) and top × (n-1), rounded down, by counting high bytes, then low bytes.
func (w window) quantiles(low, top float64) (uint16, uint16) {
	var counts [lanes][256]int32
	for y := w.top; y < w.bottom; y++ {
		row := w.samples[y*w.stride+w.left : y*w.stride+w.right]
		for len(row) >= lanes {
			four := row[:lanes:lanes]
			counts[0][four[0]>>8]++
			counts[1][four[1]>>8]++
			counts[2][four[2]>>8]++
			counts[3][four[3]>>8]++
			row = row[lanes:]
		}
		for _, s := range row {
			counts[0][s>>8]++
		}
	}
	for bin := range counts[0] {
		counts[0][bin] += counts[1][bin] + counts[2][bin] + counts[3][bin]
	}
	last := float64((w.right-w.left)*(w.bottom-w.top) - 1)
	lowHigh, lowRank := rankIn(&counts[0], int32(low*last))
	topHigh, topRank := rankIn(&counts[0], int32(top*last))
	var lowBytes, topBytes [256]int32
	for y := w.top; y < w.bottom; y++ {
		for _, s := range w.samples[y*w.stride+w.left : y*w.stride+w.right] {
			if s>>8 == lowHigh {
				lowBytes[s&0xff]++
			}
			if s>>8 == topHigh {
				topBytes[s&0xff]++
			}
		}
	}
	lowLow, _ := rankIn(&lowBytes, lowRank)
	topLow, _ := rankIn(&topBytes, topRank)
	return lowHigh<<8 | lowLow, topHigh<<8 | topLow
}

// rankIn finds the bin that holds the rank-th count, and the rank within that bin.
func rankIn(counts *[256]int32, rank int32) (bin uint16, rest int32) {
	for bin, n := range counts {
		if rank < n {
			return uint16(bin), rank
		}
		rank -= n
	}
	return uint16(len(counts) - 1), 0
}
