package street_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/spatial-flow/spatial-flow/producer/street"
)

// small is a street that is quick to render.
func small(seed uint64) street.Config {
	return street.Config{Seed: seed, FPS: 30, Width: 256, Height: 144, Split: street.All}
}

func render(t testing.TB, cfg street.Config, frames ...uint64) *street.Frame {
	t.Helper()
	s, err := street.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	f := new(street.Frame)
	for _, n := range frames {
		if err := s.Render(n, f); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func same(a, b *street.Frame) bool {
	return bytes.Equal(a.Image.Pix, b.Image.Pix) && slices.Equal(a.Depth, b.Depth) && slices.Equal(a.Objects, b.Objects) && a.Camera == b.Camera && a.Time == b.Time
}

// TestFrameNeedsNoneBefore renders a frame alone, and after others before, behind and far away.
func TestFrameNeedsNoneBefore(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		const n = 1234
		alone := render(t, small(seed), n)
		if among := render(t, small(seed), 0, 1, 5000, n+1, 1<<33, n-1, n); !same(alone, among) {
			t.Errorf("seed %d: frame %d depends on what was rendered before", seed, n)
		}
	}
}

func TestFramesDiffer(t *testing.T) {
	t.Parallel()
	one := render(t, small(1), 10)
	for name, other := range map[string]*street.Frame{
		"another seed":  render(t, small(2), 10),
		"another frame": render(t, small(1), 11),
		"another split": render(t, street.Config{Seed: 1, FPS: 30, Width: 256, Height: 144, Split: street.Train}, 10),
	} {
		if bytes.Equal(one.Image.Pix, other.Image.Pix) || slices.Equal(one.Depth, other.Depth) {
			t.Errorf("%s looks the same", name)
		}
	}
	if at60 := render(t, street.Config{Seed: 1, FPS: 60, Width: 256, Height: 144, Split: street.All}, 20); !slices.Equal(one.Depth, at60.Depth) {
		t.Error("frame 20 at 60 a second is not the moment of frame 10 at 30")
	}
}

// TestEndless looks at frames that are years away.
func TestEndless(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		found := 0
		s, err := street.New(small(seed))
		if err != nil {
			t.Fatal(err)
		}
		var f street.Frame
		for _, n := range []uint64{1 << 20, 1 << 30, street.MaxFrames - 1} {
			if err := s.Render(n, &f); err != nil {
				t.Fatal(err)
			}
			found += len(f.Objects)
		}
		if found < 6 {
			t.Errorf("seed %d: %d objects in frames far away", seed, found)
		}
	}
}

// TestInstances follows objects from frame to frame.
func TestInstances(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		first, next := render(t, small(seed), 300), render(t, small(seed), 301)
		classes := map[uint32]int{}
		for _, o := range first.Objects {
			if _, twice := classes[o.Instance]; twice {
				t.Errorf("seed %d: instance %d is there twice", seed, o.Instance)
			}
			classes[o.Instance] = o.Class
			if o.Label != street.Label(o.Class) || o.Label == "" {
				t.Errorf("class %d is called %q", o.Class, o.Label)
			}
		}
		stayed := 0
		for _, o := range next.Objects {
			class, found := classes[o.Instance]
			if found && class != o.Class {
				t.Errorf("seed %d: instance %d turns from %d into %d", seed, o.Instance, class, o.Class)
			}
			if found {
				stayed++
			}
		}
		if stayed < len(first.Objects)/2 {
			t.Errorf("seed %d: of %d objects %d are there a frame later", seed, len(first.Objects), stayed)
		}
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for _, size := range [][2]int{{64, 64}, {64, 2160}, {3840, 64}, {641, 359}} {
		f := render(t, street.Config{Seed: 5, FPS: 30, Width: size[0], Height: size[1], Split: street.All}, 3)
		if f.Image.Rect.Dx() != size[0] || f.Image.Rect.Dy() != size[1] || len(f.Depth) != size[0]*size[1] {
			t.Errorf("%v: a picture of %v and %d depths", size, f.Image.Rect, len(f.Depth))
		}
	}
}

// BenchmarkRender renders frames one after the other, on one core.
func BenchmarkRender(b *testing.B) {
	s, err := street.New(street.Config{Seed: 3, FPS: 30, Width: 640, Height: 360, Split: street.All})
	if err != nil {
		b.Fatal(err)
	}
	var f street.Frame
	if err := s.Render(0, &f); err != nil { // builds what stands around the camera
		b.Fatal(err)
	}
	n := uint64(1)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Render(n, &f); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "frames/s")
}

// BenchmarkNew builds streets.
func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	cfg := street.DefaultConfig()
	for b.Loop() {
		cfg.Seed++
		if _, err := street.New(cfg); err != nil {
			b.Fatal(err)
		}
	}
}
