package join_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/fuser/join"
)

// surface is a map without data whose samples are their own values: a slope with noise, as neighbours are alike.
func surface(width, height, bits int, random *rand.Rand) (*depthmap.Map, []uint16) {
	samples := make([]uint16, width*height)
	most := 1<<bits - 1
	for i := range samples {
		slope := float64(i/width+1) / float64(height+1) * float64(most)
		samples[i] = uint16(min(max(int(slope+random.NormFloat64()*float64(most)/50), 0), most))
	}
	return &depthmap.Map{Width: width, Height: height, Kind: depthmap.InverseRelative, Bits: bits, Scale: 1}, samples
}

// A range begins at the 2nd and 98th percentile, which are those of the sorted samples, rounded down.
func TestRangeBeginsAtThePercentiles(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(7, 7))
	for _, size := range [][3]int{{1, 1, 16}, {2, 1, 16}, {3, 5, 12}, {7, 11, 8}, {37, 53, 12}, {252, 189, 12}, {518, 518, 16}} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			m, samples := surface(size[0], size[1], size[2], random)
			sorted := slices.Sorted(slices.Values(samples))
			at := func(q float64) float32 { return float32(sorted[int(q*float64(len(sorted)-1))]) }
			if got, want := join.MoveRange(nil, m, samples), (depthmap.Range{Low: at(0.02), High: at(0.98)}); *got != want {
				t.Errorf("the range is %+v, want %+v", *got, want)
			}
		})
	}
}

// BenchmarkMoveRange is what each map costs its source's range.
func BenchmarkMoveRange(b *testing.B) {
	for _, size := range [][2]int{{336, 252}, {518, 518}} {
		m, samples := surface(size[0], size[1], depthmap.DefaultBits, rand.New(rand.NewPCG(7, 7)))
		b.Run(fmt.Sprintf("%dx%d", size[0], size[1]), func(b *testing.B) {
			for b.Loop() {
				join.MoveRange(nil, m, samples)
			}
		})
	}
}
