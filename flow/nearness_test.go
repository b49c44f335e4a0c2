package flow_test

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/klauspost/compress/zlib"
	"pgregory.net/rapid"

	"github.com/spatial-flow/spatial-flow/flow"
)

func TestNearness(t *testing.T) {
	stable := flow.DepthRange{Low: 2, High: 10}
	for _, test := range []struct {
		name  string
		scope flow.DepthRange
		kind  flow.DepthKind
		value float32
		want  float32
	}{
		{"disparity: large is near", stable, flow.KindInverseRelative, 10, 100},
		{"disparity: small is far", stable, flow.KindInverseRelative, 2, 0},
		{"disparity: between", stable, flow.KindInverseRelative, 8, 75},
		{"metres: small is near", stable, flow.KindMetric, 2, 100},
		{"metres: large is far", stable, flow.KindMetric, 10, 0},
		{"metres: between", stable, flow.KindMetric, 4, 75},
		{"relative depth is like metres", stable, flow.KindRelative, 4, 75},
		{"nearer than the range", stable, flow.KindMetric, -7, 100},
		{"farther than the range", stable, flow.KindMetric, 99, 0},
		{"disparity beyond the range", stable, flow.KindInverseRelative, 99, 100},
		{"a flat picture has no near and far", flow.DepthRange{Low: 3, High: 3}, flow.KindMetric, 3, 50},
		{"range the wrong way round", flow.DepthRange{Low: 3, High: 1}, flow.KindMetric, 2, 50},
		{"range is no number", flow.DepthRange{Low: nan, High: 1}, flow.KindMetric, 2, 50},
		{"widest range", flow.DepthRange{Low: -math.MaxFloat32, High: math.MaxFloat32}, flow.KindInverseRelative, math.MaxFloat32, 100},
		{"middle of the widest range", flow.DepthRange{Low: -math.MaxFloat32, High: math.MaxFloat32}, flow.KindMetric, 0, 50},
		{"large numbers", flow.DepthRange{Low: 0, High: 2e38}, flow.KindInverseRelative, 1e38, 50},
	} {
		if got := test.scope.Nearness(test.kind, test.value); !(math.Abs(float64(got-test.want)) < 1e-4) {
			t.Errorf("%s: %v of %v is %v, want %v", test.name, test.value, test.scope, got, test.want)
		}
	}
}

func TestNearnessIsAPercentage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scope := flow.DepthRange{Low: rapid.Float32().Draw(t, "low"), High: rapid.Float32().Draw(t, "high")}
		kind := rapid.SampledFrom([]flow.DepthKind{flow.KindInverseRelative, flow.KindRelative, flow.KindMetric}).Draw(t, "kind")
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
	var unpacker flow.DepthUnpacker
	d := &flow.DepthMap{Width: 2, Height: 1, Kind: flow.KindMetric, Bits: 11, Scale: 1, Data: data.Bytes()}
	if samples, err := unpacker.Unpack(d); err != nil || samples[0] != 1023 || samples[1] != 1024 {
		t.Errorf("11 bits: %v, %v; want 1023 and 1024", samples, err)
	}
	d.Bits = 10
	if samples, err := unpacker.Unpack(d); !errors.Is(err, flow.ErrDepthMap) {
		t.Errorf("1024 in 10 bits: %v, %v; want ErrDepthMap", samples, err)
	}
}

// What Pack makes has finite values only, up to the largest numbers there are.
func TestPackNeverMakesInfinity(t *testing.T) {
	var packer flow.DepthPacker
	rapid.Check(t, func(t *rapid.T) {
		values := []float32{rapid.Float32().Draw(t, "a"), rapid.Float32().Draw(t, "b")}
		bits := rapid.IntRange(flow.MinDepthBits, flow.MaxDepthBits).Draw(t, "bits")
		d, err := packer.Pack(values, 2, 1, flow.KindMetric, bits)
		if err != nil {
			return // too far apart
		}
		if err := d.Validate(); err != nil {
			t.Fatalf("%v became a map that is refused: %v", values, err)
		}
	})
	if d, err := packer.Pack([]float32{0, math.MaxFloat32}, 2, 1, flow.KindMetric, 8); err == nil && d.Validate() != nil {
		t.Errorf("0 and the largest number became a map that is refused: %v", d.Validate())
	}
}
