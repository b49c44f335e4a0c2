package detect_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"

	"github.com/spatial-flow/spatial-flow/workers/detect"
)

// anchor is a column of a raw head.
type anchor struct {
	box    [4]float32 // centre x, centre y, width, height
	scores []float32
}

// head lays anchors out as a model does: a row per number.
func head(classes int, anchors ...anchor) []float32 {
	out := make([]float32, (4+classes)*len(anchors))
	for i, a := range anchors {
		for row, v := range append(a.box[:], a.scores...) {
			out[row*len(anchors)+i] = v
		}
	}
	return out
}

var nan = float32(math.NaN())

func TestDecodeHead(t *testing.T) {
	t.Parallel()
	box := [4]float32{50, 60, 20, 10}
	corners := [4]float32{40, 55, 60, 65}
	for _, test := range []struct {
		name   string
		scores []float32
		want   []detect.Candidate
	}{
		{"best class only", []float32{0.5, 0.9, 0.6}, []detect.Candidate{{Box: corners, Score: 0.9, Class: 1}}},
		{"first class", []float32{0.9, 0.5, 0.6}, []detect.Candidate{{Box: corners, Score: 0.9, Class: 0}}},
		{"last class", []float32{0, 0, 0.3}, []detect.Candidate{{Box: corners, Score: 0.3, Class: 2}}},
		{"of equal scores the lower class", []float32{0.1, 0.7, 0.7}, []detect.Candidate{{Box: corners, Score: 0.7, Class: 1}}},
		{"exactly the confidence is not above it", []float32{0.25, 0.25, 0.1}, nil},
		{"the next number above it is", []float32{math.Nextafter32(0.25, 1), 0, 0}, []detect.Candidate{{Box: corners, Score: math.Nextafter32(0.25, 1)}}},
		{"below", []float32{0.1, 0.2, 0.24}, nil},
		{"no number", []float32{nan, nan, nan}, nil},
		{"one of them is no number", []float32{0.9, nan, 0.5}, nil},
		{"the first one is no number", []float32{nan, 0.9, 0.5}, nil},
	} {
		var best detect.Best
		output := head(3, anchor{box, test.scores}, anchor{box, []float32{0, 0, 0}})
		got := detect.DecodeHead(nil, &best, output, 3, 2, 0.25)
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

// The same Best serves heads of any size, one after the other, and what is there already stays.
func TestDecodeHeadAppendsAndForgets(t *testing.T) {
	t.Parallel()
	var best detect.Best
	box := [4]float32{5, 5, 2, 2}
	first := detect.DecodeHead(nil, &best, head(2, anchor{box, []float32{0.1, 0.9}}, anchor{box, []float32{0.1, 0.8}}, anchor{box, []float32{0, 0}}), 2, 3, 0.25)
	both := detect.DecodeHead(first, &best, head(1, anchor{box, []float32{0.1}}, anchor{box, []float32{0.4}}), 1, 2, 0.25)
	if got := fmt.Sprint(both); got != "[{[4 4 6 6] 0.9 1} {[4 4 6 6] 0.8 1} {[4 4 6 6] 0.4 0}]" {
		t.Errorf("candidates %s", got)
	}
	if none := detect.DecodeHead(nil, &best, nil, 3, 0, 0.25); len(none) != 0 {
		t.Errorf("a head without anchors has %v", none)
	}
}

func candidate(x1, y1, x2, y2, score float32, class int) detect.Candidate {
	return detect.Candidate{Box: [4]float32{x1, y1, x2, y2}, Score: score, Class: class}
}

func TestSuppress(t *testing.T) {
	t.Parallel()
	// Two boxes of 10x10 that share 8x10: IoU 80/120 = 2/3. Two that share 6x10: 60/140 = 3/7.
	a, near, far := candidate(0, 0, 10, 10, 0.9, 0), candidate(2, 0, 12, 10, 0.8, 0), candidate(4, 0, 14, 10, 0.7, 0)
	third := float32(80) / 120
	other := near
	other.Class = 1
	same := candidate(0, 0, 10, 10, 0.9, 0)
	line := candidate(5, 5, 5, 9, 0.6, 0) // no area
	type list = []detect.Candidate
	for _, test := range []struct {
		name  string
		in    list
		limit float32
		most  int
		want  list
	}{
		{"none", nil, 0.5, 10, nil},
		{"above the limit one goes", list{a, near}, 0.6, 10, list{a}},
		{"exactly the limit stays", list{a, near}, third, 10, list{a, near}},
		{"just below it goes", list{a, near}, math.Nextafter32(third, 0), 10, list{a}},
		{"the better one stays, whatever the order", list{near, a}, 0.5, 10, list{a}},
		{"another class stays", list{a, other}, 0.1, 10, list{a, other}},
		{"what went suppresses nothing", list{a, near, far}, 0.5, 10, list{a, far}}, // near-far: 2/3, a-far: 3/7
		{"best first", list{far, other, a}, 0.9, 10, list{a, other, far}},
		{"at most most", list{far, near, a}, 0.9, 2, list{a, near}},
		{"most counts those that stay", list{a, near, far}, 0.5, 2, list{a, far}},
		{"equal scores keep the earlier", list{same, a}, 0.5, 10, list{same}},
		{"boxes that only touch", list{a, candidate(10, 0, 20, 10, 0.5, 0)}, 0.0001, 10, list{a, candidate(10, 0, 20, 10, 0.5, 0)}},
		{"without area nothing overlaps", list{a, line, line}, 0.0001, 10, list{a, line, line}},
		{"one inside the other", list{candidate(0, 0, 10, 10, 0.3, 0), candidate(0, 0, 10, 5, 0.2, 0)}, 0.5, 10, // IoU is exactly a half
			list{candidate(0, 0, 10, 10, 0.3, 0), candidate(0, 0, 10, 5, 0.2, 0)}},
	} {
		if got := detect.Suppress(slices.Clone(test.in), test.limit, test.most); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

// naive is suppression as torchvision words it, box by box against all others.
func naive(in []detect.Candidate, limit float32, most int) (out []detect.Candidate) {
	order := make([]int, len(in))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool { return in[order[a]].Score > in[order[b]].Score })
	gone := make([]bool, len(in))
	for n, i := range order {
		if gone[i] {
			continue
		}
		if out = append(out, in[i]); len(out) == most {
			break
		}
		for _, j := range order[n+1:] {
			a, b := in[i].Box, in[j].Box
			w, h := max(0, min(a[2], b[2])-max(a[0], b[0])), max(0, min(a[3], b[3])-max(a[1], b[1]))
			union := (a[2]-a[0])*(a[3]-a[1]) + (b[2]-b[0])*(b[3]-b[1]) - w*h
			if in[i].Class == in[j].Class && union > 0 && w*h/union > limit {
				gone[j] = true
			}
		}
	}
	return out
}

func TestSuppressAgreesWithTheNaiveWay(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	for round := range 500 {
		in := make([]detect.Candidate, random.IntN(120))
		for i := range in { // a coarse grid, so that equal scores, equal boxes and round IoUs happen
			x, y := float32(4*random.IntN(12)), float32(4*random.IntN(12))
			in[i] = candidate(x, y, x+float32(4*random.IntN(8)), y+float32(4*random.IntN(8)), float32(1+random.IntN(20))/20, random.IntN(3))
		}
		limit, most := float32(1+random.IntN(19))/20, 1+random.IntN(60)
		want := naive(in, limit, most)
		if got := detect.Suppress(slices.Clone(in), limit, most); !slices.Equal(got, want) {
			t.Fatalf("round %d, limit %v, most %d:\n%v\n%v, want\n%v", round, limit, most, in, got, want)
		}
	}
}

// BenchmarkDecodeHead is a frame of 640x640 with eighty classes and some 300 candidates, in heaps as models make them.
func BenchmarkDecodeHead(b *testing.B) {
	const classes, anchors = 80, 8400
	output := make([]float32, (4+classes)*anchors)
	random := rand.New(rand.NewPCG(5, 6))
	for i := range output[4*anchors:] {
		output[4*anchors+i] = 0.2 * random.Float32()
	}
	for n := range 300 {
		i, object := n*anchors/300, float32(n%30)
		for row, v := range []float32{20*object + 3*random.Float32(), 15*object + 3*random.Float32(), 60, 90} {
			output[row*anchors+i] = v
		}
		output[(4+n%30%classes)*anchors+i] = 0.3 + 0.6*random.Float32()
	}
	var best detect.Best
	var candidates []detect.Candidate
	b.ReportAllocs()
	for b.Loop() {
		candidates = detect.DecodeHead(candidates[:0], &best, output, classes, anchors, 0.25)
		if len(candidates) != 300 {
			b.Fatalf("%d candidates, want 300", len(candidates))
		}
		if kept := detect.Suppress(candidates, 0.7, 300); len(kept) < 30 {
			b.Fatalf("%d boxes, want 30 or more", len(kept))
		}
	}
}
