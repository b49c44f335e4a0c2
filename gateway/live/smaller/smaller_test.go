package smaller_test

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/gateway/live/smaller"
)

// picture is a JPEG whose left half is red and whose right half is blue, with noise.
func picture(t *testing.T, width, height int) []byte {
	t.Helper()
	img, noise := image.NewRGBA(image.Rect(0, 0, width, height)), rand.New(rand.NewPCG(1, 2))
	for y := range height {
		for x := range width {
			c := color.RGBA{200, 30, 30, 255}
			if x >= width/2 {
				c = color.RGBA{30, 30, 200, 255}
			}
			c.G += uint8(noise.UintN(40))
			img.Set(x, y, c)
		}
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, img, &jpeg.Options{Quality: 90}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestPicture(t *testing.T) {
	t.Parallel()
	m := smaller.New(1)
	whole := picture(t, 1001, 500)
	small := m.Picture(whole, 320)
	img, err := jpeg.Decode(bytes.NewReader(small))
	if err != nil || img.Bounds() != image.Rect(0, 0, 320, 160) || len(small) > len(whole)/4 {
		t.Fatalf("%v, %d of %d bytes: %v", img.Bounds(), len(small), len(whole), err)
	}
	for x, want := range map[int][3]uint32{40: {200, 50, 30}, 280: {30, 50, 200}} {
		r, g, b, _ := img.At(x, 80).RGBA()
		for i, got := range []uint32{r >> 8, g >> 8, b >> 8} {
			if math.Abs(float64(got)-float64(want[i])) > 40 {
				t.Errorf("at %d: %d %d %d, want about %v", x, r>>8, g>>8, b>>8, want)
				break
			}
		}
	}
	for name, same := range map[string][]byte{"not wider": picture(t, 320, 100), "no picture": []byte("no"), "cut": whole[:len(whole)/2], "none": nil} {
		if got := m.Picture(same, 320); len(got) != len(same) || len(got) > 0 && &got[0] != &same[0] {
			t.Errorf("%s: %d bytes become %d", name, len(same), len(got))
		}
	}
}

// A header that claims more than may be decoded is believed.
func TestPictureIsBounded(t *testing.T) {
	t.Parallel()
	claims := picture(t, 64, 64)
	at := bytes.Index(claims, []byte{0xff, 0xc0}) + 5
	copy(claims[at:], []byte{0xff, 0xff, 0xff, 0xff}) // 65535 x 65535
	if got := smaller.New(1).Picture(claims, 320); &got[0] != &claims[0] {
		t.Error("it was decoded")
	}
}

func TestDepth(t *testing.T) {
	t.Parallel()
	const width, height = 501, 301
	values := make([]float32, width*height)
	for i := range values {
		values[i] = float32(i%width) + 0.5*float32(i/width)
	}
	var packer depthmap.Packer
	whole, err := packer.Pack(values, width, height, depthmap.Metric, depthmap.MaxBits)
	if err != nil {
		t.Fatal(err)
	}
	m := smaller.New(1)
	small := m.Depth(whole, 160)
	if small.Width > 160 || small.Width < 80 || small.Height != (height+3)/4 || small.Kind != whole.Kind || len(small.Data) > len(whole.Data)/4 {
		t.Fatalf("%+v of %d bytes", small, len(small.Data))
	}
	var unpacker depthmap.Unpacker
	samples, err := unpacker.Unpack(small)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range [][2]int{{0, 0}, {60, 40}, {small.Width - 1, small.Height - 1}} {
		want := (float64(at[0])+.5)*width/float64(small.Width) + .5*(float64(at[1])+.5)*height/float64(small.Height)
		if got := float64(small.Value(samples[at[1]*small.Width+at[0]])); math.Abs(got-want) > 5 {
			t.Errorf("at %v: %v, want about %v", at, got, want)
		}
	}
	if m.Depth(whole, 501) != whole {
		t.Error("a map that is not wider is made anew")
	}
}

func TestWidth(t *testing.T) {
	t.Parallel()
	for most, want := range map[int]int{0: 0, 160: 160, 639: 480, 640: 640, 5000: 1920} {
		if got := smaller.Width(most); got != want {
			t.Errorf("at most %d: %d, want %d", most, got, want)
		}
	}
}
