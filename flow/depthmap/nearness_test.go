package depthmap_test

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/klauspost/compress/zlib"
	"pgregory.net/rapid"

	"github.com/spatial-flow/spatial-flow/flow/depthmap"
)

func TestNearness(t *testing.T) {
	stable := depthmap.Range{Low: 2, High: 10}
	for _, test := range []struct {
		name  string
		scope depthmap.Range
		kind  depthmap.Kind
		value float32
		want  float32
	}{
		{"disparity: large is near", stable, depthmap.InverseRelative, 10, 100},
		{"disparity: small is far", stable, depthmap.InverseRelative, 2, 0},
		{"disparity: between", stable, depthmap.InverseRelative, 8, 75},
		{"metres: small is near", stable, depthmap.Metric, 2, 100},
		{"metres: large is far", stable, depthmap.Metric, 10, 0},
		{"metres: between", stable, depthmap.Metric, 4, 75},
		{"relative depth is like metres", stable, depthmap.Relative, 4, 75},
		{"nearer than the range", stable, depthmap.Metric, -7, 100},
		{"farther than the range", stable, depthmap.Metric, 99, 0},
		{"disparity beyond the range", stable, depthmap.InverseRelative, 99, 100},
		{"a flat picture has no near and far", depthmap.Range{Low: 3, High: 3}, depthmap.Metric, 3, 50},
		{"range the wrong way round", depthmap.Range{Low: 3, High: 1}, depthmap.Metric, 2, 50},
		{"range is no number", depthmap.Range{Low: float32(math.NaN()), High: 1}, depthmap.Metric, 2, 50},
		{"widest range", depthmap.Range{Low: -math.MaxFloat32, High: math.MaxFloat32}, depthmap.InverseRelative, math.MaxFloat32, 100},
		{"middle of the widest range", depthmap.Range{Low: -math.MaxFloat32, High: math.MaxFloat32}, depthmap.Metric, 0, 50},
		{"large numbers", depthmap.Range{Low: 0, High: 2e38}, depthmap.InverseRelative, 1e38, 50},
	} {
		if got := test.scope.Nearness(test.kind, test.value); !(math.Abs(float64(got-test.want)) < 1e-4) {
			t.Errorf("%s: %v of %v is %v, want %v", test.name, test.value, test.scope, got, test.want)
		}
	}
}

func TestNearnessIsAPercentage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scope := depthmap.Range{Low: rapid.Float32().Draw(t, "low"), High: rapid.Float32().Draw(t, "high")}
		kind := rapid.SampledFrom([]depthmap.Kind{depthmap.InverseRelative, depthmap.Relative, depthmap.Metric}).Draw(t, "kind")
		value := rapid.Float32().Draw(t, "value")
		if got := scope.Nearness(kind, value); !(got >= 0 && got <= 100) {
			t.Fatalf("%v of %v is %v, want 0 to 100", value, scope, got)
		}
	})
}

// Whoever colours a map has a table of 1<<Bits entries.
func TestUnpackRefusesSamplesBeyondTheBits(t *testing.T) {
	var data bytes.Buffer
	w := zlib.NewWriter(&data)
	if _, err := w.Write([]byte{0xff, 0x03, 0x01, 0x00}); err != nil { // 1023, then 1024
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var unpacker depthmap.Unpacker
	d := &depthmap.Map{Width: 2, Height: 1, Kind: depthmap.Metric, Bits: 11, Scale: 1, Data: data.Bytes()}
	if samples, err := unpacker.Unpack(d); err != nil || samples[0] != 1023 || samples[1] != 1024 {
		t.Errorf("11 bits: %v, %v; want 1023 and 1024", samples, err)
	}
	d.Bits = 10
	if samples, err := unpacker.Unpack(d); !errors.Is(err, depthmap.ErrMap) {
		t.Errorf("1024 in 10 bits: %v, %v; want ErrMap", samples, err)
	}
}

// What Pack makes has finite values only, up to the largest numbers there are.
func TestPackNeverMakesInfinity(t *testing.T) {
	var packer depthmap.Packer
	rapid.Check(t, func(t *rapid.T) {
		values := []float32{rapid.Float32().Draw(t, "a"), rapid.Float32().Draw(t, "b")}
		bits := rapid.IntRange(depthmap.MinBits, depthmap.MaxBits).Draw(t, "bits")
		d, err := packer.Pack(values, 2, 1, depthmap.Metric, bits)
		if err != nil {
			return // too far apart
		}
		if err := d.Validate(); err != nil {
			t.Fatalf("%v became a map that is refused: %v", values, err)
		}
	})
	if d, err := packer.Pack([]float32{0, math.MaxFloat32}, 2, 1, depthmap.Metric, 8); err == nil && d.Validate() != nil {
		t.Errorf("0 and the largest number became a map that is refused: %v", d.Validate())
	}
}
