package eval

import (
	"fmt"
	"math"

	"github.com/spatial-flow/spatial-flow/flow/depthmap"
)

// FarthestMetres is how far true depth is judged; aligned depth is cut there too.
const FarthestMetres = 80

// good is the largest ratio of depth to true depth, either way round, that counts into δ1.
const good = 1.25

// Alignment turns values of an inverse relative depth map into inverse metres: Scale × value + Shift. It is what a map
// without a unit leaves open; the usual evaluation takes the least squares of each frame (Ranftl et al., "Towards
// Robust Monocular Depth Estimation", 2020, eq. 4).
type Alignment struct{ Scale, Shift float64 }

// Metres is the depth that a value stands for, at most [FarthestMetres].
func (a Alignment) Metres(value float64) float64 {
	return 1 / max(a.Scale*value+a.Shift, 1.0/FarthestMetres)
}

// DepthError is how far a frame's aligned depth is from the truth, over the pixels whose truth is at most
// [FarthestMetres].
type DepthError struct {
	AbsRel float64 `json:"abs_rel"` // mean of |depth − truth| / truth
	Delta1 float64 `json:"delta1"`  // share of pixels with max(depth/truth, truth/depth) < 1.25
}

// Align finds the alignment, with the least squares in inverse depth, of values to truth, row by row in the same
// resolution, truth in metres along the optical axis (+Inf: sky), and measures what error it leaves.
// An error is returned when the sizes differ or there is nothing to compare.
func Align(values, truth []float32) (Alignment, DepthError, error) {
	if len(values) != len(truth) {
		return Alignment{}, DepthError{}, fmt.Errorf("%d depth values for %d true ones", len(values), len(truth))
	}
	var n, sumV, sumT, sumVV, sumVT float64
	for i, metres := range truth {
		if !judgedDepth(metres) {
			continue
		}
		v, inverse := float64(values[i]), 1/float64(metres)
		n++
		sumV, sumT, sumVV, sumVT = sumV+v, sumT+inverse, sumVV+v*v, sumVT+v*inverse
	}
	if n == 0 {
		return Alignment{}, DepthError{}, fmt.Errorf("no pixel has a true depth of at most %d m", FarthestMetres)
	}
	var a Alignment
	if spread := n*sumVV - sumV*sumV; spread > 1e-12*n*sumVV { // else all values are the same
		a.Scale = (n*sumVT - sumV*sumT) / spread
	}
	a.Shift = (sumT - a.Scale*sumV) / n
	var e DepthError
	for i, metres := range truth {
		if !judgedDepth(metres) {
			continue
		}
		ratio := a.Metres(float64(values[i])) / float64(metres)
		e.AbsRel += math.Abs(ratio-1) / n
		if max(ratio, 1/ratio) < good {
			e.Delta1 += 1 / n
		}
	}
	return a, e, nil
}

func judgedDepth(metres float32) bool { return metres > 0 && metres <= FarthestMetres }

// Resample brings a map's samples to another resolution, bilinear, with the corners of the pixel grids aligned at their
// outer edges (as OpenCV's INTER_LINEAR).
func Resample(d *depthmap.Map, samples []uint16, width, height int) []float32 {
	columns := taps(width, d.Width)
	out := make([]float32, width*height)
	for y, row := range taps(height, d.Height) {
		upper, lower := samples[row.low*d.Width:], samples[row.high*d.Width:]
		for x, column := range columns {
			top := mix(upper[column.low], upper[column.high], column.share)
			bottom := mix(lower[column.low], lower[column.high], column.share)
			out[y*width+x] = d.Offset + d.Scale*(top+(bottom-top)*row.share)
		}
	}
	return out
}

// tap is where one resampled row or column lies between two of the map's.
type tap struct {
	low, high int
	share     float32 // of high
}

func taps(to, from int) []tap {
	all := make([]tap, to)
	for i := range all {
		at := min(max((float64(i)+0.5)*float64(from)/float64(to)-0.5, 0), float64(from-1))
		low := int(at)
		all[i] = tap{low, min(low+1, from-1), float32(at - float64(low))}
	}
	return all
}

func mix(a, b uint16, share float32) float32 { return float32(a) + (float32(b)-float32(a))*share }
