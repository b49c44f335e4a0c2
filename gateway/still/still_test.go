package still_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"testing"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/client/label"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/flow/picture"
	"github.com/spatial-flow/spatial-flow/gateway/still"
)

func grey(t testing.TB, width, height int) []byte {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, width, height))
	for i := range img.Pix {
		img.Pix[i] = 100
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, img, nil); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func near(a, b color.Color) bool {
	ar, ag, ab, _ := a.RGBA()
	br, bg, bb, _ := b.RGBA()
	for _, pair := range [][2]uint32{{ar, br}, {ag, bg}, {ab, bb}} {
		if math.Abs(float64(pair[0])-float64(pair[1])) > 50<<8 {
			return false
		}
	}
	return true
}

// Boxes are drawn in their classes' colours, labels over them, and what lies beyond the picture at its edges.
func TestBoxes(t *testing.T) {
	t.Parallel()
	data, err := still.Boxes(grey(t, 1920, 1080), []api.Detection{
		{Label: "person", Score: .9, Box: [4]float32{300, 300, 900, 900}},
		{Label: "car", ClassID: 2, Score: .5, Box: [4]float32{-1e30, 60, 3e38, 3e38}},
		{Label: "\x1b\u202e\xff", ClassID: 3, Score: .5, Box: [4]float32{1500, 600, 1500, 600}},
	})
	if err != nil {
		t.Fatal(err)
	}
	img, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil || img.Bounds() != image.Rect(0, 0, 1920, 1080) {
		t.Fatalf("%v, %v", img.Bounds(), err)
	}
	for at, want := range map[image.Point]color.Color{
		{X: 600, Y: 600}: color.Gray{Y: 100}, {X: 300, Y: 750}: label.Color(0), {X: 900, Y: 750}: label.Color(0), {X: 600, Y: 900}: label.Color(0),
		{X: 302, Y: 280}: label.Color(0), {X: 1, Y: 1000}: label.Color(2), {X: 1918, Y: 1000}: label.Color(2),
	} {
		if got := img.At(at.X, at.Y); !near(got, want) {
			t.Errorf("at %v: %v, want %v", at, got, want)
		}
	}
}

// What can't be drawn on is refused before it is decoded.
func TestBoxesRefuse(t *testing.T) {
	t.Parallel()
	claims := grey(t, 64, 64)
	binary.BigEndian.PutUint32(claims[bytes.Index(claims, []byte{0xff, 0xc0})+5:], 6000<<16|6000)
	for name, test := range map[string]struct {
		data []byte
		want error
	}{
		"too large": {claims, still.ErrLarge}, "nothing": {nil, picture.ErrBroken}, "cut": {grey(t, 64, 64)[:300], picture.ErrBroken},
	} {
		if _, err := still.Boxes(test.data, nil); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

// Every value of a map is in the PNG.
func TestDepth(t *testing.T) {
	t.Parallel()
	for _, bits := range []int{8, 10, 16} {
		values := []float32{1, 2, 3, 4, 5, 6}
		var packer depthmap.Packer
		m, err := packer.Pack(values, 3, 2, depthmap.Metric, bits)
		if err != nil {
			t.Fatal(err)
		}
		data, read, err := still.Depth(m)
		if err != nil {
			t.Fatal(err)
		}
		img, err := png.Decode(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if grey, ok := img.(*image.Gray16); !ok || grey.Rect.Size() != image.Pt(3, 2) || read.Kind != depthmap.Metric {
			t.Fatalf("%T of %v, %+v", img, img.Bounds(), read)
		}
		for i, want := range values {
			pixel := img.(*image.Gray16).Gray16At(i%3, i/3).Y
			if got := read.Value(pixel); math.Abs(float64(got-want)) > .6*float64(m.Scale) {
				t.Errorf("%d bits, value %d is %v, want %v", bits, i, got, want)
			}
		}
	}
	if _, _, err := still.Depth(&depthmap.Map{Width: 1 << 30, Height: 1 << 30}); !errors.Is(err, depthmap.ErrMap) {
		t.Errorf("a huge map: %v", err)
	}
}

func BenchmarkBoxes(b *testing.B) {
	data, detections := grey(b, 1920, 1080), make([]api.Detection, 30)
	for i := range detections {
		at := float32(50 * i)
		detections[i] = api.Detection{Label: "person", Score: .9, Box: [4]float32{at, at / 2, at + 100, at/2 + 200}}
	}
	for b.Loop() {
		if _, err := still.Boxes(data, detections); err != nil {
			b.Fatal(err)
		}
	}
}
