package picture_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	flowpicture "github.com/spatial-flow/spatial-flow/flow/picture"
	"github.com/spatial-flow/spatial-flow/workers/picture"
)

// A picture of more pixels than are decoded looks the same to a model, and what is found in it lies where it lies in the whole.
func TestLargePictureIsDecodedSmaller(t *testing.T) {
	t.Parallel()
	const width, height, size = 1021, 767, 64 // no multiples of 2, 4 or 8
	plain := encodeJPEG(t, scene(width, height))
	turned := append([]byte{0xff, 0xd8}, segment(0xe1, []byte("Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"))...)
	turned = append(turned, plain[2:]...)
	for name, test := range map[string]struct {
		data          []byte
		width, height int
		maxPixels     int
	}{
		"a half":            {plain, width, height, width * height / 2},
		"a quarter":         {plain, width, height, width * height / 10},
		"an eighth":         {plain, width, height, width * height / 50},
		"a half, on a side": {turned, height, width, width * height / 2},
	} {
		whole, reduced := newPicture(t), newPicture(t)
		reduced.MaxPixels = test.maxPixels
		var tensors [2][]float32
		var fits [2]picture.Fit
		for i, p := range []*picture.Picture{whole, reduced} {
			if err := p.Decode(test.data); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if w, h := p.Size(); w != test.width || h != test.height {
				t.Errorf("%s: its size is %dx%d, want %dx%d", name, w, h, test.width, test.height)
			}
			tensors[i] = make([]float32, 3*size*size)
			var err error
			if fits[i], err = p.Letterbox(tensors[i], size, size); err != nil {
				t.Fatal(err)
			}
		}
		if fits[0] != fits[1] {
			t.Errorf("%s: it lies at %+v, the whole one at %+v", name, fits[1], fits[0])
		}
		off := 0.0
		for i, v := range tensors[0] {
			off += math.Abs(float64(v-tensors[1][i])) / float64(len(tensors[0]))
		}
		if off > 0.02 {
			t.Errorf("%s: values are off by %.3f in the mean", name, off)
		}
	}
}

func TestLargePictureOfAnotherKindIsRefused(t *testing.T) {
	t.Parallel()
	p := newPicture(t)
	p.MaxPixels = 1000
	for name, test := range map[string]struct {
		data []byte
		says string
	}{
		"a PNG":                                {encodePNG(t, scene(64, 48)), "PNG of 64x48"},
		"a JPEG that is too large even at 1/8": {encodeJPEG(t, scene(640, 480)), "JPEG of 640x480"},
	} {
		err := p.Decode(test.data)
		if !errors.Is(err, picture.ErrPicture) || !errors.Is(err, flowpicture.ErrLarge) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want ErrLarge that says %q", name, err, test.says)
		}
	}
}
