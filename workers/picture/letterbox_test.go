package picture_test

import (
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/spatial-flow/spatial-flow/workers/picture"
)

// Hand-worked from Ultralytics' LetterBox: scale, size rounded half to even, bars of round(half-0.1).
func TestNewFit(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name                       string
		width, height, boxW, boxH  int
		wantW, wantH, wantX, wantY int
	}{
		{"same size", 640, 640, 640, 640, 640, 640, 0, 0},
		{"1080p into a square", 1920, 1080, 640, 640, 640, 360, 0, 140},
		{"1080p into the smallest rectangle", 1920, 1080, 640, 384, 640, 360, 0, 12},
		{"portrait", 480, 640, 640, 640, 480, 640, 80, 0},
		{"enlarged", 100, 50, 640, 640, 640, 320, 0, 160},
		{"odd bars: the smaller one on top", 640, 361, 640, 640, 640, 361, 0, 139},      // 139.5-0.1 = 139.4
		{"odd bars: the smaller one on the left", 427, 640, 640, 640, 427, 640, 106, 0}, // 106.5-0.1 = 106.4
		{"half rounds to even: down", 200, 101, 100, 100, 100, 50, 0, 25},               // 50.5
		{"half rounds to even: up", 200, 103, 100, 100, 100, 52, 0, 24},                 // 51.5
		{"768x576", 768, 576, 640, 640, 640, 480, 0, 80},
		{"a line keeps a pixel", 30000, 1, 640, 640, 640, 1, 0, 319}, // 319.5-0.1
		{"a column keeps a pixel", 1, 30000, 640, 640, 1, 640, 319, 0},
	} {
		got := picture.NewFit(test.width, test.height, test.boxW, test.boxH)
		want := picture.Fit{PictureWidth: test.width, PictureHeight: test.height, BoxWidth: test.boxW, BoxHeight: test.boxH, Width: test.wantW, Height: test.wantH, Left: test.wantX, Top: test.wantY}
		if got != want {
			t.Errorf("%s: %+v, want %+v", test.name, got, want)
		}
	}
}

func TestRectBox(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ width, height, size, stride, wantW, wantH int }{
		{1920, 1080, 640, 32, 640, 384}, // 360 and 24 of bars
		{1280, 720, 640, 32, 640, 384},
		{640, 480, 640, 32, 640, 480},
		{768, 576, 640, 32, 640, 480},
		{1080, 1920, 640, 32, 384, 640},
		{500, 333, 320, 32, 320, 224}, // 213
		{640, 640, 640, 32, 640, 640},
		{300, 10, 640, 32, 640, 32}, // 21
		{1, 30000, 640, 32, 32, 640},
		{1920, 1080, 1280, 64, 1280, 768},
	} {
		w, h := picture.RectBox(test.width, test.height, test.size, test.stride)
		if w != test.wantW || h != test.wantH {
			t.Errorf("%dx%d at %d: %dx%d, want %dx%d", test.width, test.height, test.size, w, h, test.wantW, test.wantH)
		}
	}
}

func TestBack(t *testing.T) {
	t.Parallel()
	wide := picture.NewFit(1920, 1080, 640, 640) // a third of its size, 140 down
	for _, test := range []struct {
		name string
		fit  picture.Fit
		box  [4]float32
		want [4]float32
	}{
		{"the whole picture", wide, [4]float32{0, 140, 640, 500}, [4]float32{0, 0, 1920, 1080}},
		{"a box inside", wide, [4]float32{100, 200, 200, 300}, [4]float32{300, 180, 600, 480}},
		{"cut to the picture", wide, [4]float32{-10, 100, 700, 520}, [4]float32{0, 0, 1920, 1080}},
		{"wholly in the upper bar: no height", wide, [4]float32{10, 10, 90, 130}, [4]float32{30, 0, 270, 0}},
		{"wholly in the lower bar: no height", wide, [4]float32{10, 510, 90, 600}, [4]float32{30, 1080, 270, 1080}},
		// 101 rows become 50: a gain per axis, 50/101, where one gain for both would be 0.5.
		{"a gain per axis", picture.NewFit(200, 101, 100, 100), [4]float32{0, 25, 100, 75}, [4]float32{0, 0, 200, 101}},
	} {
		got := test.fit.Back(test.box)
		for i := range got {
			if math.Abs(float64(got[i]-test.want[i])) > 1e-3 {
				t.Errorf("%s: %v, want %v", test.name, got, test.want)
				break
			}
		}
	}
}

// Whatever the sizes, the picture lies within its box, and a box comes back where it was.
func TestFitAndBackAgree(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		width, height := 1+random.IntN(4000), 1+random.IntN(4000)
		boxW, boxH := 32*(1+random.IntN(40)), 32*(1+random.IntN(40))
		f := picture.NewFit(width, height, boxW, boxH)
		if f.Left < 0 || f.Top < 0 || f.Left+f.Width > boxW || f.Top+f.Height > boxH || f.Width < 1 || f.Height < 1 {
			t.Fatalf("%dx%d lies outside of %dx%d: %+v", width, height, boxW, boxH, f)
		}
		x, y := float32(random.IntN(width)), float32(random.IntN(height))
		box := [4]float32{x, y, x + random.Float32()*(float32(width)-x), y + random.Float32()*(float32(height)-y)}
		gainX, gainY := float32(f.Width)/float32(width), float32(f.Height)/float32(height)
		left, top := float32(f.Left), float32(f.Top)
		back := f.Back([4]float32{box[0]*gainX + left, box[1]*gainY + top, box[2]*gainX + left, box[3]*gainY + top})
		for i, gain := range []float32{gainX, gainY, gainX, gainY} {
			if off := math.Abs(float64(back[i] - box[i])); off > 1e-3/float64(gain) { // float32 at 1280 is exact to 1e-4
				t.Fatalf("%+v: box %v comes back as %v", f, box, back)
			}
		}
		rectW, rectH := picture.RectBox(width, height, 640, 32)
		if rectW%32 != 0 || rectH%32 != 0 || rectW > 640 || rectH > 640 || max(rectW, rectH) != 640 {
			t.Fatalf("%dx%d gets a box of %dx%d", width, height, rectW, rectH)
		}
	}
}

// Depth Anything's Resize, keep_aspect_ratio, ensure_multiple_of 14, lower_bound.
func TestLowerBound(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ width, height, size, wantW, wantH int }{
		{1920, 1080, 518, 924, 518}, // 920.9 = 65.8 patches
		{1080, 1920, 518, 518, 924},
		{640, 480, 518, 686, 518}, // 690.7 = 49.3 patches
		{768, 576, 518, 686, 518},
		{300, 200, 518, 784, 518}, // 777 = 55.5 patches: half to even is 56
		{640, 480, 252, 336, 252},
		{1920, 1080, 252, 448, 252},
		{1000, 1000, 518, 518, 518},
		{1000, 1000, 520, 532, 532}, // 37.1 patches round to 518, which is below 520
		{640, 640, 14, 14, 14},
		{1, 100, 14, 14, 1400},
	} {
		w, h := picture.LowerBound(test.width, test.height, test.size, 14)
		if w != test.wantW || h != test.wantH {
			t.Errorf("%dx%d at %d: %dx%d, want %dx%d", test.width, test.height, test.size, w, h, test.wantW, test.wantH)
		}
	}
}

// uniform is a decoded picture of one colour.
func uniform(t *testing.T, width, height int, c color.RGBA) *picture.Picture {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			m.SetRGBA(x, y, c)
		}
	}
	p := newPicture(t)
	if err := p.Decode(encodePNG(t, m)); err != nil {
		t.Fatal(err)
	}
	return p
}

// Every value of the tensor is written, also when it held another picture before.
func TestLetterboxWritesEveryValue(t *testing.T) {
	t.Parallel()
	const size = 32
	for _, test := range []struct{ width, height int }{{64, 36}, {36, 64}, {32, 32}, {10, 3}, {50, 1}} {
		dst := make([]float32, 3*size*size)
		for i := range dst {
			dst[i] = float32(math.NaN())
		}
		f, err := uniform(t, test.width, test.height, color.RGBA{255, 0, 51, 255}).Letterbox(dst, size, size)
		if err != nil {
			t.Fatal(err)
		}
		for c, colour := range []float32{1, 0, 0.2} {
			for y := range size {
				for x := range size {
					want := float32(114. / 255)
					if x >= f.Left && x < f.Left+f.Width && y >= f.Top && y < f.Top+f.Height {
						want = colour
					}
					if got := dst[c*size*size+y*size+x]; got != want {
						t.Fatalf("%dx%d: channel %d at %d, %d is %v, want %v", test.width, test.height, c, x, y, got, want)
					}
				}
			}
		}
	}
}

func TestCubicNormalises(t *testing.T) {
	t.Parallel()
	for _, size := range []int{14, 28} { // enlarged, and as it is
		dst := make([]float32, 3*size*size)
		if err := uniform(t, 28, 28, color.RGBA{255, 0, 51, 255}).Cubic(dst, size, size); err != nil {
			t.Fatal(err)
		}
		// (1-0.485)/0.229, (0-0.456)/0.224, (0.2-0.406)/0.225
		for c, want := range []float64{2.2489083, -2.0357143, -0.9155556} {
			for i, got := range dst[c*size*size : (c+1)*size*size] {
				if math.Abs(float64(got)-want) > 1e-5 {
					t.Fatalf("size %d: channel %d, value %d is %v, want %v", size, c, i, got, want)
				}
			}
		}
	}
}

func TestTensorOfAnotherSizeIsRefused(t *testing.T) {
	t.Parallel()
	p := uniform(t, 8, 8, color.RGBA{A: 255})
	if _, err := p.Letterbox(make([]float32, 3*31*32), 32, 32); err == nil {
		t.Error("Letterbox writes into a tensor that is too small")
	}
	if err := p.Cubic(make([]float32, 3*14*13), 14, 14); err == nil {
		t.Error("Cubic writes into a tensor that is too small")
	}
}

func TestEmptyPictureIsRefused(t *testing.T) {
	t.Parallel()
	p := newPicture(t)
	if _, err := p.Letterbox(make([]float32, 3*32*32), 32, 32); err == nil {
		t.Error("Letterbox of nothing: no error")
	}
	if err := p.Cubic(make([]float32, 3*14*14), 14, 14); err == nil {
		t.Error("Cubic of nothing: no error")
	}
}
