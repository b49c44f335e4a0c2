package depthmap_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime/debug"
	"slices"
	"testing"

	"github.com/klauspost/compress/zlib"
	"pgregory.net/rapid"

	"github.com/spatial-flow/spatial-flow/flow/depthmap"
)

func TestMapSurvivesTheWire(t *testing.T) {
	var packer depthmap.Packer
	var unpacker depthmap.Unpacker
	rapid.Check(t, func(t *rapid.T) {
		width, height := rapid.IntRange(1, 40).Draw(t, "width"), rapid.IntRange(1, 40).Draw(t, "height")
		bits := rapid.IntRange(depthmap.MinBits, depthmap.MaxBits).Draw(t, "bits")
		values := rapid.SliceOfN(rapid.Float32Range(-1e6, 1e6), width*height, width*height).Draw(t, "values")
		d, err := packer.Pack(values, width, height, depthmap.Metric, bits)
		if err != nil {
			t.Fatal(err)
		}
		samples, err := unpacker.Unpack(d)
		if err != nil {
			t.Fatal(err)
		}
		low, high := slices.Min(values), slices.Max(values)
		tolerance := 0.51*float64(d.Scale) + 1e-6*math.Max(math.Abs(float64(low)), math.Abs(float64(high)))
		for i, v := range values {
			if got := d.Value(samples[i]); math.Abs(float64(got-v)) > tolerance {
				t.Fatalf("value %d: %v became %v, off by more than %v", i, v, got, tolerance)
			}
			if int(samples[i]) >= 1<<bits {
				t.Fatalf("sample %d has more than %d bits", samples[i], bits)
			}
		}
	})
}

func TestMapOfOddValues(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	var packer depthmap.Packer
	var unpacker depthmap.Unpacker
	for _, test := range []struct {
		name   string
		values []float32
		want   []float32 // nil: refused
	}{
		{"constant", []float32{3, 3, 3, 3}, []float32{3, 3, 3, 3}},
		{"not finite becomes the smallest", []float32{nan, 1, inf, 2}, []float32{1, 1, 1, 2}},
		{"nothing finite", []float32{nan, inf, -inf, nan}, nil},
		{"too wide a range", []float32{-math.MaxFloat32, math.MaxFloat32, 0, 0}, nil},
		{"wrong count", []float32{1, 2, 3}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, err := packer.Pack(test.values, 2, 2, depthmap.Relative, 16)
			if test.want == nil {
				if !errors.Is(err, depthmap.ErrMap) {
					t.Fatalf("packed %v, %v; want ErrMap", d, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			samples, err := unpacker.Unpack(d)
			if err != nil {
				t.Fatal(err)
			}
			span := float64(slices.Max(test.want)) - float64(slices.Min(test.want))
			for i, want := range test.want {
				if got := d.Value(samples[i]); math.Abs(float64(got)-float64(want)) > 1e-4*span {
					t.Errorf("value %d is %v, want %v", i, got, want)
				}
			}
		})
	}
}

func TestUnpackRefusesWhatIsNotTheMap(t *testing.T) {
	var packer depthmap.Packer
	good, err := packer.Pack(make([]float32, 64), 8, 8, depthmap.Metric, 10)
	if err != nil {
		t.Fatal(err)
	}
	var unpacker depthmap.Unpacker
	for name, breakIt := range map[string]func(*depthmap.Map){
		"more samples claimed": func(d *depthmap.Map) { d.Height = 9 },
		"fewer claimed":        func(d *depthmap.Map) { d.Height = 7 },
		"huge":                 func(d *depthmap.Map) { d.Width, d.Height = 1<<30, 1<<30 },
		"negative":             func(d *depthmap.Map) { d.Width = -8 },
		"torn":                 func(d *depthmap.Map) { d.Data = d.Data[:len(d.Data)-5] },
		"no zlib":              func(d *depthmap.Map) { d.Data = []byte("picture") },
		"bits":                 func(d *depthmap.Map) { d.Bits = 17 },
		"kind":                 func(d *depthmap.Map) { d.Kind = "far" },
		"scale":                func(d *depthmap.Map) { d.Scale = float32(math.NaN()) },
	} {
		d := *good
		breakIt(&d)
		if _, err := unpacker.Unpack(&d); !errors.Is(err, depthmap.ErrMap) {
			t.Errorf("%s: %v, want ErrMap", name, err)
		}
		if _, err := unpacker.Unpack(good); err != nil {
			t.Fatalf("after %s the good map fails: %v", name, err)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	var packer depthmap.Packer
	d, err := packer.Pack([]float32{1, 2, 3, 4, 5, 6}, 3, 2, depthmap.Metric, 10)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(3, 2, 10, d.Data)
	f.Fuzz(func(t *testing.T, width, height, bits int, data []byte) {
		debug.SetMemoryLimit(256 << 20)
		var unpacker depthmap.Unpacker
		m := &depthmap.Map{Width: width, Height: height, Bits: bits, Kind: depthmap.Metric, Data: data}
		samples, err := unpacker.Unpack(m)
		if err == nil && len(samples) != width*height {
			t.Fatalf("%d samples for %dx%d", len(samples), width, height)
		}
		for _, s := range samples {
			if int(s) >= 1<<bits {
				t.Fatalf("sample %d has more than %d bits", s, bits)
			}
		}
	})
}

func depthValues(side int) []float32 {
	values := make([]float32, side*side)
	for i := range values {
		x, y := float64(i%side), float64(i/side)
		values[i] = float32(4 + y/100 + math.Sin(x/40)*math.Cos(y/30) + 0.02*math.Sin(x*y))
	}
	return values
}

func BenchmarkPack(b *testing.B) {
	for _, side := range []int{252, 518} {
		b.Run(fmt.Sprint(side), func(b *testing.B) {
			values := depthValues(side)
			var packer depthmap.Packer
			b.ReportAllocs()
			for b.Loop() {
				d, err := packer.Pack(values, side, side, depthmap.InverseRelative, depthmap.DefaultBits)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(len(d.Data)), "bytes")
			}
		})
	}
}

func BenchmarkUnpack(b *testing.B) {
	for _, side := range []int{252, 518} {
		b.Run(fmt.Sprint(side), func(b *testing.B) {
			var packer depthmap.Packer
			d, err := packer.Pack(depthValues(side), side, side, depthmap.InverseRelative, depthmap.DefaultBits)
			if err != nil {
				b.Fatal(err)
			}
			var unpacker depthmap.Unpacker
			b.ReportAllocs()
			for b.Loop() {
				if _, err := unpacker.Unpack(d); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type counter int

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

func inflate(tb testing.TB, data []byte) []byte {
	tb.Helper()
	r, err := zlib.NewReader(bytes.NewReader(data))
	if err != nil {
		tb.Fatal(err)
	}
	raw, err := io.ReadAll(r)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// BenchmarkDeflateLevels compares zlib's levels on a map's differences, to choose the one that Pack uses.
func BenchmarkDeflateLevels(b *testing.B) {
	var packer depthmap.Packer
	d, err := packer.Pack(depthValues(518), 518, 518, depthmap.InverseRelative, depthmap.DefaultBits)
	if err != nil {
		b.Fatal(err)
	}
	raw := inflate(b, d.Data)
	for _, level := range []int{-2, 1, 2, 5, 6} {
		b.Run(fmt.Sprint(level), func(b *testing.B) {
			var size counter
			w, err := zlib.NewWriterLevel(&size, level)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				size = 0
				w.Reset(&size)
				w.Write(raw)
				w.Close()
			}
			b.ReportMetric(float64(size), "bytes")
		})
	}
}
