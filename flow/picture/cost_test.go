package picture_test

import (
	"bytes"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"runtime"
	"testing"

	"golang.org/x/image/tiff"

	"github.com/spatial-flow/spatial-flow/flow/picture"
)

// Decoding allocates no more than a file's cost says, and not much less: it is what others wait for.
func TestCost(t *testing.T) {
	const side = 1024
	rect := image.Rect(0, 0, side, side)
	palette := image.NewPaletted(rect, color.Palette{color.White, color.Black})
	for name, test := range map[string]struct {
		img      image.Image
		encode   func(*bytes.Buffer, image.Image) error
		perPixel int64
	}{
		"grey PNG":    {image.NewGray(rect), encodePNG, 5},
		"indexed PNG": {palette, encodePNG, 5},
		"PNG":         {image.NewRGBA(rect), encodePNG, 8},
		"PNG of 16":   {image.NewNRGBA64(rect), encodePNG, 12},
		"grey 16":     {image.NewGray16(rect), encodePNG, 6},
		"GIF":         {palette, func(out *bytes.Buffer, img image.Image) error { return gif.Encode(out, img, nil) }, 5},
		"JPEG":        {image.NewYCbCr(rect, image.YCbCrSubsampleRatio420), encodeJPEG, 6},
		"grey JPEG":   {image.NewGray(rect), encodeJPEG, 5},
		"TIFF": {image.NewRGBA(rect), func(out *bytes.Buffer, img image.Image) error {
			return tiff.Encode(out, img, &tiff.Options{Compression: tiff.Deflate})
		}, 20},
	} {
		var out bytes.Buffer
		if err := test.encode(&out, test.img); err != nil {
			t.Fatal(err)
		}
		file, err := picture.Open(out.Bytes())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if file.Cost() != test.perPixel*side*side {
			t.Errorf("%s: %d bytes a pixel, want %d", name, file.Cost()/side/side, test.perPixel)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := file.Decode(); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		most := file.Cost() + file.Cost()/4 + 1<<20
		if file.Kind == picture.TIFF {
			most *= 2 // what a buffer that grows has left behind counts in TotalAlloc, though it is free again; more under the race detector
		}
		if took := int64(after.TotalAlloc - before.TotalAlloc); took > most || took < file.Cost()/4 {
			t.Errorf("%s: decoding takes %d bytes a pixel, said are %d", name, took/side/side, test.perPixel)
		}
	}
}

func encodePNG(out *bytes.Buffer, img image.Image) error { return png.Encode(out, img) }

func encodeJPEG(out *bytes.Buffer, img image.Image) error { return jpeg.Encode(out, img, nil) }
