package picture

import (
	"fmt"
	"image"
	"math"
	"testing"

	"gocv.io/x/gocv"
)

// cubicAtOnce is bicubic resizing of the whole picture as floats.
func cubicAtOnce(t testing.TB, p *Picture, width, height int) []float32 {
	t.Helper()
	floats, out := gocv.NewMat(), gocv.NewMat()
	t.Cleanup(func() { floats.Close(); out.Close() })
	if err := p.pixels.ConvertToWithParams(&floats, gocv.MatTypeCV32FC3, 1./255, 0); err != nil {
		t.Fatal(err)
	}
	if err := gocv.Resize(floats, &out, image.Pt(width, height), 0, 0, gocv.InterpolationCubic); err != nil {
		t.Fatal(err)
	}
	values, err := out.DataPtrFloat32()
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// Strips change no bit of what OpenCV makes of the whole picture.
func TestStripsAreExact(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ width, height, toWidth, toHeight int }{
		{1920, 1080, 924, 518}, {768, 576, 336, 252}, {1281, 721, 518, 294}, {640, 480, 784, 588}, {33, 17, 56, 28},
		{3000, 500, 3108, 518}, {500, 3000, 518, 3108}, {518, 2000, 518, 504}, {2000, 518, 504, 518}, {252, 252, 252, 252}, {1, 6, 28, 168},
		{30000, 20, 252, 14}, {4000, 3000, 672, 504},
	} {
		t.Run(fmt.Sprintf("%dx%d", test.width, test.height), func(t *testing.T) {
			t.Parallel()
			p, err := Dummy(test.width, test.height)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			want := cubicAtOnce(t, p, test.toWidth, test.toHeight)
			got, err := p.resizeStrips(test.toWidth, test.toHeight)
			if err != nil {
				t.Fatal(err)
			}
			values, err := got.DataPtrFloat32()
			if err != nil || len(values) != len(want) {
				t.Fatalf("%d values, %v; want %d", len(values), err, len(want))
			}
			for i, v := range values {
				if math.Float32bits(v) != math.Float32bits(want[i]) {
					t.Fatalf("value %d is %v, want %v", i, v, want[i])
				}
			}
		})
	}
}

// BenchmarkCubic is a frame of 1080p made a depth model's input, its rows in strips or as a whole.
func BenchmarkCubic(b *testing.B) {
	for _, size := range []image.Point{{1920, 1080}, {3840, 2160}} {
		p, err := Dummy(size.X, size.Y)
		if err != nil {
			b.Fatal(err)
		}
		defer p.Close()
		b.Run(fmt.Sprintf("%dp/strips", size.Y), func(b *testing.B) {
			for b.Loop() {
				if _, err := p.resizeStrips(924, 518); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("%dp/whole", size.Y), func(b *testing.B) {
			floats, out := gocv.NewMat(), gocv.NewMat()
			defer floats.Close()
			defer out.Close()
			for b.Loop() {
				if err := p.pixels.ConvertToWithParams(&floats, gocv.MatTypeCV32FC3, 1./255, 0); err != nil {
					b.Fatal(err)
				}
				if err := gocv.Resize(floats, &out, image.Pt(924, 518), 0, 0, gocv.InterpolationCubic); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
