package street

import (
	"math"
	"slices"
	"testing"
)

// rendered is a street with a frame in hand.
func rendered(t *testing.T, seed, n uint64) (*Street, *Frame, view) {
	t.Helper()
	s, err := New(Config{Seed: seed, FPS: 30, Width: 320, Height: 180, Split: All})
	if err != nil {
		t.Fatal(err)
	}
	f := new(Frame)
	if err := s.Render(n, f); err != nil {
		t.Fatal(err)
	}
	return s, f, s.world.view(float64(n) / 30)
}

// TestVisibleAgainstObjectsAlone draws every object once more with nothing else, and counts.
func TestVisibleAgainstObjectsAlone(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		s, f, v := rendered(t, seed, 77)
		truth := map[uint32]Object{}
		for _, o := range f.Objects {
			truth[o.Instance] = o
		}
		alone := newRaster(320, 180)
		for _, p := range s.world.pieces {
			if p.object == 0 {
				continue
			}
			var visible, whole int
			var depths []float32
			box := [4]float32{1e9, 1e9, -1, -1}
			alone.begin()
			alone.draw(&v, &p)
			for i, index := range alone.top {
				if index != 0 {
					whole++
				}
				if s.raster.shown[s.raster.top[i]].object != p.object {
					continue
				}
				visible++
				depths = append(depths, f.Depth[i])
				x, y := float32(i%320), float32(i/320)
				box = [4]float32{min(box[0], x), min(box[1], y), max(box[2], x+1), max(box[3], y+1)}
			}
			o, listed := truth[s.world.objects[p.object-1].instance]
			if listed != (visible > 0) {
				t.Errorf("seed %d: an object of %d visible pixels is listed: %v", seed, visible, listed)
			}
			if !listed {
				continue
			}
			slices.Sort(depths)
			want := Object{
				Class: s.world.objects[p.object-1].class, Label: Label(s.world.objects[p.object-1].class), Instance: o.Instance,
				Box: box, Visible: float32(visible) / float32(whole), Distance: depths[len(depths)/2],
			}
			if o != want {
				t.Errorf("seed %d: %+v, want %+v", seed, o, want)
			}
		}
	}
}

// TestDepthOfTheGround compares with where each pixel's ray meets the road and the pavements.
func TestDepthOfTheGround(t *testing.T) {
	t.Parallel()
	checked := 0
	for seed := range uint64(8) {
		s, f, _ := rendered(t, seed, 200)
		c := f.Camera
		for i, index := range s.raster.top {
			if m := s.raster.shown[index].material; m == nil || m.kind != ground {
				continue
			}
			// The ray of the pixel's middle, by the camera's numbers alone; 1 along the optical axis.
			right, down := (float64(i%320)+.5-c.CX)/c.Focal, (float64(i/320)+.5-c.CY)/c.Focal
			fall := math.Sin(c.Pitch) + down*math.Cos(c.Pitch)
			off := math.Inf(1)
			for _, height := range []float64{0, .006, kerbHeight} { // road, its lines, pavements
				depth := (c.Height - height) / fall
				x := c.X + depth*(right*math.Cos(c.Yaw)+(math.Cos(c.Pitch)-down*math.Sin(c.Pitch))*math.Sin(c.Yaw))
				if math.Abs(x) < 13 {
					off = min(off, math.Abs(float64(f.Depth[i])-depth)/depth)
				}
			}
			if checked++; off > 1e-3 {
				t.Fatalf("seed %d, pixel %d, %d: %v m, off by a share of %v", seed, i%320, i/320, f.Depth[i], off)
			}
		}
	}
	if checked < 50_000 {
		t.Errorf("only %d pixels of ground", checked)
	}
}

func TestSkyIsInfinite(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		s, f, _ := rendered(t, seed, 0)
		for i, index := range s.raster.top {
			if sky := index == 0; sky != math.IsInf(float64(f.Depth[i]), 1) || !(f.Depth[i] >= near*.999) {
				t.Fatalf("seed %d: sky %v, depth %v", seed, sky, f.Depth[i])
			}
		}
	}
}

// TestSplitsShareNothing looks at what is drawn from pools.
func TestSplitsShareNothing(t *testing.T) {
	t.Parallel()
	pools := map[Split]map[int]bool{Train: {}, HeldOut: {}, All: {}}
	hues := map[Split]map[int]bool{Train: {}, HeldOut: {}, All: {}}
	for split := range pools {
		for seed := range uint64(300) {
			l := look{seed: mix(seed), split: split}
			m := newMount(&l)
			pools[split][int((m.height-lowest)/(highest-lowest)*8)] = true
			r := newRandom(seed, 0, 0)
			hues[split][int(l.slot(&r, 12, 0, 6)*4)] = true
		}
	}
	for _, of := range []map[Split]map[int]bool{pools, hues} {
		for interval := range of[Train] {
			if of[HeldOut][interval] {
				t.Errorf("interval %d is in both", interval)
			}
		}
		if len(of[Train]) != len(of[HeldOut]) || len(of[All]) != 2*len(of[Train]) {
			t.Errorf("%d intervals to train, %d held out, %d of all", len(of[Train]), len(of[HeldOut]), len(of[All]))
		}
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	r := newRandom(1, 0, 0)
	for n := 1; n < 60; n++ {
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(r.below(1 + n/2))
		}
		got := median(slices.Clone(values))
		slices.Sort(values)
		if want := values[n/2]; got != want {
			t.Errorf("%v: %v, want %v", values, got, want)
		}
	}
}
