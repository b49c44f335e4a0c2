package predict

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"math/rand/v2"
	"testing"
)

// A JPEG of strips shows what the same picture encoded at once does, pixel by pixel.
func TestEncodeInStrips(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for _, size := range []image.Point{{1, 1}, {33, 64}, {33, 65}, {100, 128}, {767, 1000}} {
		rect := image.Rect(3, 5, 3+size.X, 5+size.Y)
		grey, colours, halves := image.NewGray(rect), image.NewRGBA(rect), image.NewYCbCr(image.Rectangle{Max: size}, image.YCbCrSubsampleRatio420)
		for _, pixels := range [][]byte{grey.Pix, colours.Pix, halves.Y, halves.Cb, halves.Cr} {
			for i := range pixels {
				pixels[i] = byte(i/7) + byte(random.Uint32()&63)
			}
		}
		for _, img := range []image.Image{grey, colours, halves} {
			name := fmt.Sprintf("%T of %v", img, size)
			got, err := encode(img)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			var once bytes.Buffer
			if err := jpeg.Encode(&once, img, &jpeg.Options{Quality: resentQuality}); err != nil {
				t.Fatal(err)
			}
			want, err := jpeg.Decode(&once)
			if err != nil {
				t.Fatal(err)
			}
			shown, err := jpeg.Decode(bytes.NewReader(got))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if !samePixels(shown, want) {
				t.Errorf("%s: strips show something else", name)
			}
		}
	}
}

// The widest picture that a JPEG can hold has no room for a strip's restart interval.
func TestEncodeWidest(t *testing.T) {
	t.Parallel()
	data, err := encode(image.NewGray(image.Rect(0, 0, 1<<16-1, stripRows+1)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jpeg.Decode(bytes.NewReader(data)); err != nil {
		t.Error(err)
	}
}

func samePixels(a, b image.Image) bool {
	switch a := a.(type) {
	case *image.Gray:
		b, ok := b.(*image.Gray)
		return ok && a.Rect == b.Rect && bytes.Equal(a.Pix, b.Pix)
	case *image.YCbCr:
		b, ok := b.(*image.YCbCr)
		return ok && a.Rect == b.Rect && bytes.Equal(a.Y, b.Y) && bytes.Equal(a.Cb, b.Cb) && bytes.Equal(a.Cr, b.Cr)
	}
	return false
}
