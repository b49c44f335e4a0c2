//go:build !race

// Statistics of what one goroutine draws: the race detector makes them ten times slower and sees nothing in them.

package street_test

import (
	"slices"
	"testing"

	"github.com/spatial-flow/spatial-flow/producer/street"
)

// scenes is what there is to find in the default scenes.
type scenes struct {
	counts  []int // countable objects per frame
	heights []float32
	hidden  int // of them, 25 to 75 % hidden
	classes map[string]int
}

func look(t *testing.T, seeds, perSeed, step uint64) scenes {
	t.Helper()
	found := scenes{classes: map[string]int{}}
	cfg := street.DefaultConfig()
	for cfg.Seed = 1; cfg.Seed <= seeds; cfg.Seed++ {
		s, err := street.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		var f street.Frame
		for i := range perSeed {
			if err := s.Render(i*step, &f); err != nil {
				t.Fatal(err)
			}
			count := 0
			for _, o := range f.Objects {
				if !o.Countable() {
					continue
				}
				count++
				found.classes[o.Label]++
				found.heights = append(found.heights, o.Box[3]-o.Box[1])
				if o.Visible <= .75 {
					found.hidden++
				}
			}
			found.counts = append(found.counts, count)
		}
	}
	slices.Sort(found.counts)
	slices.Sort(found.heights)
	return found
}

// TestStatistics measures the default scenes: how much there is to find, how much of it hides, and how large it is.
func TestStatistics(t *testing.T) {
	t.Parallel()
	found := look(t, 40, 2, 70)
	frames, objects := len(found.counts), len(found.heights)
	inside := 0
	for _, n := range found.counts {
		if n >= 5 && n <= 25 {
			inside++
		}
	}
	t.Logf("objects per frame: least %d, median %d, most %d; 5 to 25 in %d of %d frames", found.counts[0], found.counts[frames/2], found.counts[frames-1], inside, frames)
	if inside*100 < frames*90 {
		t.Errorf("5 to 25 objects in %d of %d frames, want 90 %%", inside, frames)
	}
	t.Logf("25 to 75 %% hidden: %d of %d", found.hidden, objects)
	if found.hidden*100 < objects*30 {
		t.Errorf("%d of %d objects are 25 to 75 %% hidden, want 30 %%", found.hidden, objects)
	}
	for _, share := range []struct {
		of, most int // a thousandth of the objects is at most that high
	}{{100, 24}, {500, 60}} {
		if height := found.heights[objects*share.of/1000]; height > float32(share.most) {
			t.Errorf("%d of 1000 objects are at most %v pixels high, want %d", share.of, height, share.most)
		}
	}
	t.Logf("heights: 10%% %v, median %v, 90%% %v, 97%% %v, most %v", found.heights[objects/10], found.heights[objects/2], found.heights[objects*9/10], found.heights[objects*97/100], found.heights[objects-1])
	if tall := found.heights[objects-1]; tall < 300 {
		t.Errorf("the highest object has %v pixels, want 300", tall)
	}
	if found.heights[objects*97/100] < 120 {
		t.Errorf("3 of 100 objects are at least %v pixels high, want 120", found.heights[objects*97/100])
	}
	for _, class := range []int{street.Person, street.Bicycle, street.Car, street.Bus} {
		if n := found.classes[street.Label(class)]; n*4 < frames {
			t.Errorf("%d of %s in %d frames, want one in four", n, street.Label(class), frames)
		}
	}
	t.Log(found.classes)
}
