package eval

import (
	"fmt"
	"math"
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
