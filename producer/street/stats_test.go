package street_test

import (
	"slices"
	"testing"

	"github.com/spatial-flow/spatial-flow/producer/street"
)

// TestStatistics measures the default scenes: how much there is to find, how much of it hides, and how large it is.
func TestStatistics(t *testing.T) {
	const seeds, perSeed, step = 60, 3, 70
	classes := map[string]int{}
	var counts []int
	var heights []float32
	hidden, sparse := 0, 0
	for seed := range uint64(seeds) {
		cfg := street.DefaultConfig()
		cfg.Seed = seed
		s, err := street.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		var f street.Frame
		for i := range uint64(perSeed) {
			if err := s.Render(i*step, &f); err != nil {
				t.Fatal(err)
			}
			count := 0
			for _, o := range f.Objects {
				if !o.Countable() {
					continue
				}
				count++
				classes[o.Label]++
				heights = append(heights, o.Box[3]-o.Box[1])
				if o.Visible <= .75 {
					hidden++
				}
			}
			counts = append(counts, count)
			t.Log(seed, count, f.Camera.Yaw, f.Camera.Height)
			if count < 5 || count > 25 {
				sparse++
			}
		}
	}
	slices.Sort(counts)
	slices.Sort(heights)
	n := len(counts)
	t.Logf("objects per frame: least %d, 5%% %d, median %d, 95%% %d, most %d; outside 5 to 25: %d of %d", counts[0], counts[n/20], counts[n/2], counts[n-n/20], counts[n-1], sparse, n)
	t.Logf("25%% to 75%% hidden: %.1f%% of %d", 100*float64(hidden)/float64(len(heights)), len(heights))
	m := len(heights)
	t.Logf("heights: 10%% %v, median %v, 90%% %v, 97%% %v, most %v", heights[m/10], heights[m/2], heights[m*9/10], heights[m*97/100], heights[m-1])
	t.Log(classes)
}
