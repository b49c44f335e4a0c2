package predict

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"testing"
)

// greyOf encodes a picture that is in memory.
func greyOf(t testing.TB, img *image.Gray) []byte {
	t.Helper()
	width, height := img.Rect.Dx(), img.Rect.Dy()
	data, err := encodeGrey(width, height, func(pixels []byte, top, bottom int) {
		copy(pixels, img.Pix[top*width:bottom*width])
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func smooth(x, y int, _ *rand.Rand) uint8 {
	return uint8(128 + 100*math.Sin(float64(x)/31)*math.Cos(float64(y)/23))
}

// patterns are pictures that ask different things of an encoder.
var patterns = []struct {
	name string
	at   func(x, y int, random *rand.Rand) uint8
}{
	{"flat", func(int, int, *rand.Rand) uint8 { return 77 }},
	{"smooth", smooth},
	{"noise", func(_, _ int, random *rand.Rand) uint8 { return uint8(random.Uint32()) }},
	{"checkerboard", func(x, y int, _ *rand.Rand) uint8 { return uint8(x+y&1) * 255 }},
	{"black or white", func(_, _ int, random *rand.Rand) uint8 { return uint8(random.Uint32()&1) * 255 }},
	{"a frequency in each unit", func(x, y int, _ *rand.Rand) uint8 { // so that every run of zeros is there
		wave := func(at int) float64 { return math.Cos(float64((2*(at%8)+1)*(at/8%8)) * math.Pi / 16) }
		return uint8(128 + 100*wave(x)*wave(y))
	}},
	{"few points", func(_, _ int, random *rand.Rand) uint8 {
		if random.Uint32()%97 == 0 {
			return 255
		}
		return 0
	}},
}

// A decoder shows the picture, as close to it as the library's own encoder makes it, from about as many bytes.
func TestEncodeGrey(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	for _, size := range []image.Point{{1, 1}, {7, 9}, {8, 8}, {33, stripRows}, {33, stripRows + 1}, {100, 128}, {767, 1000}, {1<<16 - 1, stripRows + 1}} {
		for _, pattern := range patterns {
			if size.X > 1000 && pattern.name != "noise" {
				continue // it is there for its restart intervals
			}
			img := image.NewGray(image.Rectangle{Max: size})
			for i := range img.Pix {
				img.Pix[i] = pattern.at(i%size.X, i/size.X, random)
			}
			var library bytes.Buffer
			if err := jpeg.Encode(&library, img, &jpeg.Options{Quality: resentQuality}); err != nil {
				t.Fatal(err)
			}
			want, wantMost := difference(t, img, library.Bytes())
			data := greyOf(t, img)
			got, gotMost := difference(t, img, data)
			name := fmt.Sprintf("%s of %v", pattern.name, size)
			chance := 2 / math.Sqrt(float64(len(img.Pix))) // of roundings that differ
			if got > want*1.02+chance || gotMost > wantMost+4 {
				t.Errorf("%s: off by %.3f in the mean and %d at most, the library by %.3f and %d", name, got, gotMost, want, wantMost)
			}
			if markers := 3 * size.Y / stripRows; len(data) > library.Len()*102/100+markers+16 {
				t.Errorf("%s: %d bytes, the library's has %d", name, len(data), library.Len())
			}
		}
	}
}

// difference is how far what a JPEG shows is from the picture, in the mean and at most.
func difference(t *testing.T, img *image.Gray, data []byte) (mean float64, most int) {
	t.Helper()
	decoded, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%v: %v", img.Rect, err)
	}
	shown, ok := decoded.(*image.Gray)
	if !ok || shown.Rect != img.Rect {
		t.Fatalf("%T of %v is shown, want grey of %v", decoded, decoded.Bounds(), img.Rect)
	}
	for y := range img.Rect.Dy() {
		for x := range img.Rect.Dx() {
			d := int(img.Pix[y*img.Stride+x]) - int(shown.Pix[y*shown.Stride+x])
			d = max(d, -d)
			mean += float64(d) / float64(len(img.Pix))
			most = max(most, d)
		}
	}
	return mean, most
}

// The transform is the one that T.81, A.3.3 defines, by its gains.
func TestTransform(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(5, 6))
	var tables greyTables
	tables.zigzag = zigzag()
	tables.quantise([64]byte(bytes.Repeat([]byte{1}, 64)))
	for range 20 {
		var unit, given [64]float32
		for y := range 8 {
			var row [8]byte
			for x := range row {
				row[x] = byte(random.Uint32())
				given[8*y+x] = float32(row[x]) - 128
			}
			transformRow((*[8]float32)(unit[8*y:]), &row)
		}
		transformColumns(&unit)
		for turn, place := range tables.zigzag {
			u, v := int(place)%8, int(place)/8
			want := 0.
			for i, s := range given {
				want += float64(s) * math.Cos(float64((2*(i%8)+1)*u)*math.Pi/16) * math.Cos(float64((2*(i/8)+1)*v)*math.Pi/16)
			}
			want /= 4
			for _, frequency := range []int{u, v} {
				if frequency == 0 {
					want /= math.Sqrt2
				}
			}
			if got := float64(unit[place] * tables.gain[turn]); math.Abs(got-want) > 1e-3 {
				t.Errorf("coefficient %d,%d is %v, want %v", u, v, got, want)
			}
		}
	}
}

// BenchmarkEncodeGrey is a depth map's picture, smooth as it is, on one core: ours and the library's.
func BenchmarkEncodeGrey(b *testing.B) {
	img := image.NewGray(image.Rect(0, 0, 768, 576))
	for i := range img.Pix {
		img.Pix[i] = smooth(i%768, i/768, nil)
	}
	b.Run("ours", func(b *testing.B) {
		tables, err := newGreyTables(768, 576)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			tables.scan(img.Pix, 768)
		}
	})
	b.Run("library", func(b *testing.B) {
		var out bytes.Buffer
		for b.Loop() {
			out.Reset()
			if err := jpeg.Encode(&out, img, &jpeg.Options{Quality: resentQuality}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
