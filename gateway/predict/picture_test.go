package predict

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/flow/picture"
	"github.com/spatial-flow/spatial-flow/flow/reference"
)

// corners is a picture of width × height whose quarters are black, red, green and white, row by row.
func corners(width, height int) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			img.Set(x, y, [2][2]color.Color{{color.Black, color.RGBA{255, 0, 0, 255}}, {color.RGBA{0, 255, 0, 255}, color.White}}[2*y/height][2*x/width])
		}
	}
	return img
}

func jpegOf(t testing.TB, img image.Image) []byte {
	t.Helper()
	data, err := encode(img)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// withEXIF puts an orientation behind a JPEG's first two bytes.
func withEXIF(data []byte, orientation uint16) []byte {
	segment := []byte("Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01")
	segment = binary.BigEndian.AppendUint16(segment, orientation)
	segment = append(segment, make([]byte, 6)...)
	out := binary.BigEndian.AppendUint16([]byte{0xff, 0xd8, 0xff, 0xe1}, uint16(len(segment)+2))
	return append(append(out, segment...), data[2:]...)
}

// A picture is turned as its EXIF data says, and the answer is about the turned one.
func TestPrepareTurns(t *testing.T) {
	t.Parallel()
	upright := jpegOf(t, corners(64, 32))
	// What is at the four corners, left to right and top to bottom, once orientation 1 to 8 is undone.
	want := []string{"krgw", "rkwg", "wgrk", "gwkr", "kgrw", "gkwr", "wrgk", "rwkg"}
	for i, corners := range want {
		body := withEXIF(upright, uint16(i+1))
		s, err := newConverting().prepare(t.Context(), body, maxPicture, picture.DefaultMaxPixels)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 && !bytes.Equal(s.jpeg, body) {
			t.Error("an upright JPEG does not travel byte for byte")
		}
		img, err := jpeg.Decode(bytes.NewReader(s.jpeg))
		if err != nil {
			t.Fatal(err)
		}
		w, h := 64, 32
		if i >= 4 {
			w, h = h, w
		}
		if s.width != w || s.height != h || img.Bounds().Dx() != w || img.Bounds().Dy() != h {
			t.Errorf("orientation %d: %dx%d, and a JPEG of %v, want %dx%d", i+1, s.width, s.height, img.Bounds(), w, h)
			continue
		}
		got := ""
		for _, at := range []image.Point{{w / 4, h / 4}, {3 * w / 4, h / 4}, {w / 4, 3 * h / 4}, {3 * w / 4, 3 * h / 4}} {
			r, g, b, _ := img.At(at.X, at.Y).RGBA()
			switch {
			case r > 40000 && g > 40000 && b > 40000:
				got += "w"
			case r > 40000:
				got += "r"
			case g > 40000:
				got += "g"
			default:
				got += "k"
			}
		}
		if got != corners {
			t.Errorf("orientation %d: corners %s, want %s", i+1, got, corners)
		}
	}
}

// A phone's picture, which is turned.
func BenchmarkPrepareTurned(b *testing.B) {
	img := image.NewYCbCr(image.Rect(0, 0, 4000, 3000), image.YCbCrSubsampleRatio420)
	for i := range img.Y {
		img.Y[i] = byte(i / 4000)
	}
	body := withEXIF(jpegOf(b, img), 6)
	c := newConverting()
	for b.Loop() {
		if _, err := c.prepare(b.Context(), body, maxPicture, picture.DefaultMaxPixels); err != nil {
			b.Fatal(err)
		}
	}
}

// maxPicture is what a picture may take of a message at a server as it is provisioned.
const maxPicture = bus.MaxMessage - bus.FrameRoom

func TestPrepareMakesItFit(t *testing.T) {
	t.Parallel()
	noise := image.NewRGBA(image.Rect(0, 0, 3000, 2000))
	r := rand.New(rand.NewPCG(1, 1))
	for i := range noise.Pix {
		noise.Pix[i] = uint8(r.Uint32())
	}
	var large bytes.Buffer
	if err := jpeg.Encode(&large, noise, &jpeg.Options{Quality: 98}); err != nil {
		t.Fatal(err)
	}
	if large.Len() <= maxPicture {
		t.Fatalf("the test's picture takes %d bytes: it must not fit", large.Len())
	}
	for most, width := range map[int]int{maxPicture: 1920, 900 << 10: 960, 100 << 10: 240} { // NATS' default is 1 MiB
		s, err := newConverting().prepare(t.Context(), large.Bytes(), most, picture.DefaultMaxPixels)
		if err != nil || len(s.jpeg) > most || s.width != 3000 || s.height != 2000 {
			t.Fatalf("%d bytes, %dx%d, %v", len(s.jpeg), s.width, s.height, err)
		}
		if size, err := jpeg.DecodeConfig(bytes.NewReader(s.jpeg)); err != nil || size.Width != width || size.Height != width*2/3 {
			t.Errorf("of %d bytes: sent at %dx%d, %v, want %d wide", most, size.Width, size.Height, err, width)
		}
	}
	if _, err := newConverting().prepare(t.Context(), large.Bytes(), 1<<10, picture.DefaultMaxPixels); !errors.Is(err, picture.ErrBroken) {
		t.Errorf("no message has room for it: %v", err)
	}
}

// bomb is a PNG that says it is of the given size.
func bomb(t testing.TB, width, height uint32) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := png.Encode(&out, image.NewGray(image.Rect(0, 0, 1, 1))); err != nil {
		t.Fatal(err)
	}
	data := out.Bytes()
	binary.BigEndian.PutUint32(data[16:], width)
	binary.BigEndian.PutUint32(data[20:], height)
	return data
}

func pngOf(t testing.TB, width, height int) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := png.Encode(&out, image.NewGray(image.Rect(0, 0, width, height))); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// While one picture is converted another waits, but not for ever.
func TestPrepareWaits(t *testing.T) {
	t.Parallel()
	c := newConverting()
	if !c.small.TryAcquire(smallMemory) {
		t.Fatal("no memory at all")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	var no Refusal
	if _, err := c.prepare(ctx, withEXIF(jpegOf(t, corners(64, 32)), 6), maxPicture, picture.DefaultMaxPixels); !errors.As(err, &no) || no.Code != http.StatusServiceUnavailable {
		t.Errorf("%v, want 503", err)
	}
	c.small.Release(smallMemory)
	if _, err := c.prepare(t.Context(), withEXIF(jpegOf(t, corners(64, 32)), 6), maxPicture, picture.DefaultMaxPixels); err != nil {
		t.Error(err)
	}
}

func TestPrepareRefuses(t *testing.T) {
	t.Parallel()
	whole := jpegOf(t, corners(64, 32))
	for name, body := range map[string][]byte{
		"text": []byte("no picture"), "nothing": nil, "two bytes": {0xff, 0xd8}, "a header alone": whole[:20], "a GIF that is cut short": []byte("GIF89a"),
		"30,000 x 30,000": bomb(t, 30000, 30000), "a PNG cut short": bomb(t, 10, 10)[:40],
		"turned, and cut short": withEXIF(whole, 6)[:400], "without its end": whole[:len(whole)-2],
		"wider than a JPEG": pngOf(t, 1<<16, 1), "higher than a JPEG": pngOf(t, 1, 1<<16),
	} {
		if s, err := newConverting().prepare(t.Context(), body, maxPicture, picture.DefaultMaxPixels); !errors.Is(err, picture.ErrBroken) {
			t.Errorf("%s: %d bytes, %v", name, len(s.jpeg), err)
		}
	}
}

// pictureFiles are files of all kinds: the project's own, and those as people have them, when they are there.
func pictureFiles(t *testing.T) []string {
	t.Helper()
	folders := []string{"../../flow/picture/testdata"}
	if peoples, there := reference.Part(t, "cases", "pictures"); there {
		folders = append(folders, peoples)
	}
	var files []string
	for _, folder := range folders {
		found, err := filepath.Glob(filepath.Join(folder, "*.*"))
		if err != nil || len(found) == 0 {
			t.Fatalf("no pictures in %s: %v", folder, err)
		}
		files = append(files, found...)
	}
	return files
}

// What is posted looks to the models as it does to whoever decodes all kinds of pictures.
func TestPrepareSeesWhatPeopleSee(t *testing.T) {
	t.Parallel()
	for _, name := range pictureFiles(t) {
		body, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		s, err := newConverting().prepare(t.Context(), body, maxPicture, picture.DefaultMaxPixels)
		file, want := picture.Open(body)
		if want != nil {
			if err == nil || err.Error() != want.Error() {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		seen, err := file.Decode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := jpeg.Decode(bytes.NewReader(s.jpeg))
		if err != nil || got.Bounds() != seen.Rect || s.width != file.Width || s.height != file.Height {
			t.Errorf("%s: %v of %dx%d, %v, want %v", name, got, s.width, s.height, err, seen.Rect)
			continue
		}
		sum := 0.0
		for y := range seen.Rect.Dy() {
			for x := range seen.Rect.Dx() {
				c, w := color.RGBAModel.Convert(got.At(x, y)).(color.RGBA), seen.RGBAAt(x, y)
				sum += math.Abs(float64(c.R)-float64(w.R)) + math.Abs(float64(c.G)-float64(w.G)) + math.Abs(float64(c.B)-float64(w.B))
			}
		}
		if mean := sum / float64(3*file.Width*file.Height); mean > 6 {
			t.Errorf("%s: differs by %.1f in the mean", name, mean)
		}
	}
}

func FuzzPrepare(f *testing.F) {
	img := corners(16, 8)
	var asPNG bytes.Buffer
	if err := png.Encode(&asPNG, img); err != nil {
		f.Fatal(err)
	}
	for o := range uint16(9) {
		f.Add(withEXIF(jpegOf(f, img), o))
	}
	f.Add(asPNG.Bytes())
	f.Fuzz(func(t *testing.T, body []byte) {
		if config, _, err := image.DecodeConfig(bytes.NewReader(body)); err == nil && config.Width*config.Height > 1<<20 {
			return // large pictures take the fuzzer's time
		}
		s, err := newConverting().prepare(t.Context(), body, maxPicture, picture.DefaultMaxPixels)
		if err == nil && (len(s.jpeg) == 0 || len(s.jpeg) > maxPicture || s.width < 1 || s.height < 1) {
			t.Errorf("%d bytes for %dx%d", len(s.jpeg), s.width, s.height)
		}
	})
}

func rampMap(t *testing.T, width, height int) (*depthmap.Map, []uint16) {
	t.Helper()
	values := make([]float32, width*height)
	for i := range values {
		values[i] = float32(i%width) + 10*float32(i/width)
	}
	var packer depthmap.Packer
	m, err := packer.Pack(values, width, height, depthmap.InverseRelative, 16)
	if err != nil {
		t.Fatal(err)
	}
	samples, err := new(depthmap.Unpacker).Unpack(m)
	if err != nil {
		t.Fatal(err)
	}
	return m, slices.Clone(samples)
}

// A plane stays a plane when it is resized, so every value is known.
func TestResizeAndMedian(t *testing.T) {
	t.Parallel()
	m, samples := rampMap(t, 20, 10)
	for _, scale := range []int{1, 3, 8} {
		r := resize(m, samples, 20*scale, 10*scale)
		for _, box := range [][4]float32{{0, 0, 20, 10}, {2, 3, 9, 8}, {-50, -50, 500, 500}, {5, 5, 6, 6}} {
			b := box
			for i := range b {
				b[i] *= float32(scale)
			}
			// The middle of the box's pixels, in pixels of the map, whose corners' middles are those of the larger one.
			middle := func(from, to float32, size int) float64 {
				most := float32(scale * size)
				pixel := float64(min(max(from, 0), most)+min(max(to, 0), most)-1) / 2
				return pixel * float64(size-1) / float64(scale*size-1)
			}
			want := middle(b[0], b[2], 20) + 10*middle(b[1], b[3], 10)
			if got := float64(r.median(b)); math.Abs(got-want) > 0.6/float64(scale)+.01 {
				t.Errorf("%d times as large, box %v: median %v, want %v", scale, box, got, want)
			}
		}
	}
	r := resize(m, samples, 60, 30)
	for _, box := range [][4]float32{{60, 30, 60, 30}, {70, 70, 80, 80}, {-9, -9, -8, -8}, {12, 12, 12, 12}} {
		if v := r.median(box); v < 0 || v > 110 {
			t.Errorf("box %v without a pixel: %v", box, v)
		}
	}
}

func TestGrey(t *testing.T) {
	t.Parallel()
	m, samples := rampMap(t, 64, 32)
	data, err := resize(m, samples, 128, 64).grey()
	if err != nil {
		t.Fatal(err)
	}
	img, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	grey, ok := img.(*image.Gray)
	if !ok || grey.Rect.Dx() != 128 || grey.Rect.Dy() != 64 {
		t.Fatalf("%T of %v, want a grey picture of 128x64", img, img.Bounds())
	}
	if low, high := grey.GrayAt(0, 0).Y, grey.GrayAt(127, 63).Y; low > 6 || high < 249 {
		t.Errorf("from %d to %d, want black to white", low, high)
	}
	flat := &depthmap.Map{Width: 2, Height: 2, Bits: 10, Offset: 5}
	if _, err := resize(flat, make([]uint16, 4), 9, 9).grey(); err != nil {
		t.Errorf("a flat map: %v", err)
	}
}
