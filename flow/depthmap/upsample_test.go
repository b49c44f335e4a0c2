package depthmap_test

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/flow/reference"
)

func TestUpsample(t *testing.T) {
	t.Parallel()
	square := []uint16{0, 60, 600, 660} // 2 × 2
	for _, test := range []struct {
		samples                          []uint16
		width, height, toWidth, toHeight int
		want                             []uint16
	}{
		{square, 2, 2, 2, 2, square},
		{square, 2, 2, 3, 3, []uint16{0, 30, 60, 300, 330, 360, 600, 630, 660}},
		{square, 2, 2, 4, 1, []uint16{0, 20, 40, 60}},
		{square, 2, 2, 1, 3, []uint16{0, 300, 600}},
		{[]uint16{7}, 1, 1, 2, 2, []uint16{7, 7, 7, 7}},
		{[]uint16{0, math.MaxUint16}, 2, 1, 3, 2, []uint16{0, 32768, math.MaxUint16, 0, 32768, math.MaxUint16}},
		{[]uint16{0, 1, 2, 3, 4}, 5, 1, 3, 1, []uint16{0, 2, 4}},
	} {
		if got := depthmap.Upsample(test.samples, test.width, test.height, test.toWidth, test.toHeight); !slices.Equal(got, test.want) {
			t.Errorf("%v of %dx%d at %dx%d: %v, want %v", test.samples, test.width, test.height, test.toWidth, test.toHeight, got, test.want)
		}
	}
}

// A map that is packed, unpacked and enlarged is what the authors' program makes of the network's output, within the tolerance
// of the reference data: 0.2 % of the range on the average, and 1 % for all but one pixel in a hundred.
func TestUpsampleAgreesWithTheAuthors(t *testing.T) {
	t.Parallel()
	vectors := reference.Path(t, "vectors")
	description, err := os.ReadFile(filepath.Join(vectors, "da_v2_dynamic", "official252.json"))
	if err != nil {
		t.Fatal(err)
	}
	var set struct {
		Images map[string]struct {
			File      string
			Shape     [2]int
			Upsampled *struct {
				File  string
				Shape [2]int
			}
		}
	}
	if err := json.Unmarshal(description, &set); err != nil {
		t.Fatal(err)
	}
	compared := 0
	for name, img := range set.Images {
		if img.Upsampled == nil {
			continue
		}
		compared++
		var packer depthmap.Packer
		packed, err := packer.Pack(floats(t, vectors, img.File), img.Shape[1], img.Shape[0], depthmap.InverseRelative, depthmap.DefaultBits)
		if err != nil {
			t.Fatal(err)
		}
		var unpacker depthmap.Unpacker
		samples, err := unpacker.Unpack(packed)
		if err != nil {
			t.Fatal(err)
		}
		want := floats(t, vectors, img.Upsampled.File)
		span := float64(slices.Max(want) - slices.Min(want))
		off := make([]float64, len(want))
		mean := 0.
		for i, sample := range depthmap.Upsample(samples, packed.Width, packed.Height, img.Upsampled.Shape[1], img.Upsampled.Shape[0]) {
			off[i] = math.Abs(float64(packed.Value(sample)-want[i])) / span
			mean += off[i] / float64(len(want))
		}
		slices.Sort(off)
		if p99 := off[len(off)*99/100]; mean > .002 || p99 > .01 {
			t.Errorf("%s: %.3f %% of the range off on the average, %.3f %% at the 99th percentile", name, 100*mean, 100*p99)
		}
	}
	if compared == 0 {
		t.Error("the reference data have no enlarged map")
	}
}

// floats reads little-endian numbers of 32 bits.
func floats(t *testing.T, path ...string) []float32 {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	values := make([]float32, len(data)/4)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return values
}
