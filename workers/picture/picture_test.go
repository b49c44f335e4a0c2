package picture_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	encoded "github.com/spatial-flow/spatial-flow/flow/picture"
	"github.com/spatial-flow/spatial-flow/workers/picture"
)

// scene is a picture with something of everything in it: gradients and noise.
func scene(width, height int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	noise := uint32(1)
	for y := range height {
		for x := range width {
			noise = noise*1664525 + 1013904223
			m.SetRGBA(x, y, color.RGBA{uint8(255 * x / width), uint8(255 * y / height), uint8(noise >> 28), 255})
		}
	}
	return m
}

func encodeJPEG(t testing.TB, m image.Image) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := jpeg.Encode(&out, m, &jpeg.Options{Quality: 90}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func encodePNG(t testing.TB, m image.Image) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := png.Encode(&out, m); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func newPicture(t testing.TB) *picture.Picture {
	t.Helper()
	p := picture.NewPicture()
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// segment is a JPEG segment: marker, length, content.
func segment(marker byte, content []byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{0xff, marker}, uint16(len(content)+2)), content...)
}

// claims is the header of a JPEG of that size without any pixels.
func claims(width, height int) []byte {
	size := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16([]byte{8}, uint16(height)), uint16(width))
	data := append([]byte{0xff, 0xd8}, segment(0xc0, append(size, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0))...)
	return append(data, segment(0xda, []byte{3, 1, 0, 2, 0, 3, 0, 0, 63, 0})...)
}

// pngClaims is the header of a PNG of that size without any pixels.
func pngClaims(width, height uint32) []byte {
	head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte("IHDR"), width), height)
	head = append(head, 8, 2, 0, 0, 0)
	data := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), head...)
	return binary.BigEndian.AppendUint32(data, crc32.ChecksumIEEE(head))
}

func TestDecodeTakes(t *testing.T) {
	t.Parallel()
	const width, height = 64, 48
	plain := encodeJPEG(t, scene(width, height))
	thumbnail := segment(0xe1, append([]byte("Exif\x00\x00"), encodeJPEG(t, scene(8, 8))...))
	grey := image.NewGray(image.Rect(0, 0, width, height))
	for name, data := range map[string][]byte{
		"JPEG":                               plain,
		"grey JPEG":                          encodeJPEG(t, grey),
		"JPEG with a thumbnail":              append(append([]byte{0xff, 0xd8}, thumbnail...), plain[2:]...),
		"JPEG with fill bytes":               append([]byte{0xff, 0xd8, 0xff, 0xff}, plain[2:]...),
		"JPEG with something behind its end": append(bytes.Clone(plain), make([]byte, 500)...),
		"PNG":                                encodePNG(t, scene(width, height)),
		"grey PNG":                           encodePNG(t, grey),
		"PNG with transparency":              encodePNG(t, image.NewNRGBA(image.Rect(0, 0, width, height))),
		"PNG of 16 bits":                     encodePNG(t, image.NewNRGBA64(image.Rect(0, 0, width, height))),
	} {
		t.Run(name, func(t *testing.T) {
			p := newPicture(t)
			if err := p.Decode(data); err != nil {
				t.Fatalf("refused: %v", err)
			}
			if w, h := p.Size(); w != width || h != height {
				t.Fatalf("%dx%d pixels, want %dx%d", w, h, width, height)
			}
			// Three channels of 8 bits, whatever it was: else this goes beyond the pixels.
			if _, err := p.Letterbox(make([]float32, 3*32*32), 32, 32); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	whole, wholePNG := encodeJPEG(t, scene(256, 192)), encodePNG(t, scene(256, 192))
	thumbnail := segment(0xe1, append([]byte("Exif\x00\x00"), encodeJPEG(t, scene(8, 8))...))
	half := append(append([]byte{0xff, 0xd8}, thumbnail...), whole[2:len(whole)/2]...)
	for name, test := range map[string]struct {
		data []byte
		says string
	}{
		"nothing":                                {nil, "0 bytes"},
		"no picture":                             {[]byte("GIF89a or whatever"), "18 bytes"},
		"start of a JPEG":                        {whole[:20], "20 bytes"},
		"JPEG without pixels":                    {claims(64, 48), "cut short"},
		"JPEG without tables":                    {append(claims(64, 48), 0xff, 0xd9), "decode JPEG of 64x48"},
		"half a JPEG":                            {whole[:len(whole)/2], "256x192 is cut short"},
		"half a JPEG with a whole thumbnail":     {half, "256x192 is cut short"},
		"JPEG without its end":                   {whole[:len(whole)-2], "cut short"},
		"JPEG that claims 30000x30000":           {claims(30000, 30000), "30000x30000, want 1 to 67108864 pixels"},
		"JPEG without rows":                      {claims(64, 0), "bad picture"},
		"half a PNG":                             {wholePNG[:len(wholePNG)/2], "PNG: "},
		"PNG without pixels":                     {pngClaims(64, 48), "PNG: unexpected EOF"},
		"PNG that claims 30000x30000":            {pngClaims(30000, 30000), "30000x30000, want 1 to"},
		"PNG whose width times height overflows": {pngClaims(1<<31-1, 1<<31-1), "bad picture"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPicture(t)
			check := func(when string) {
				t.Helper()
				err := p.Decode(test.data)
				if !errors.Is(err, picture.ErrPicture) || !strings.Contains(err.Error(), test.says) {
					t.Fatalf("%s: %v, want ErrPicture that says %q", when, err, test.says)
				}
			}
			check("at first")
			if err := p.Decode(whole); err != nil {
				t.Fatal(err)
			}
			check("after a good picture") // whose pixels must not count for this one
			if err := p.Decode(whole); err != nil {
				t.Errorf("a good picture after a bad one: %v", err)
			}
		})
	}
}

// A header is believed only within bounds: what it claims beyond them costs no memory.
func TestDecodeOfAHugeClaimAllocatesNothing(t *testing.T) {
	t.Parallel()
	p, bomb := newPicture(t), claims(65500, 65500)
	if err := p.Decode(bomb); !errors.Is(err, picture.ErrPicture) {
		t.Fatalf("%v, want ErrPicture", err)
	}
	if w, h := p.Size(); w != 0 || h != 0 {
		t.Errorf("%dx%d pixels were made for it", w, h)
	}
}

// Colours come out as they went in: red is red, and in the first plane.
func TestDecodeKeepsColours(t *testing.T) {
	t.Parallel()
	m := image.NewRGBA(image.Rect(0, 0, 2, 1))
	m.SetRGBA(0, 0, color.RGBA{255, 51, 0, 255})
	m.SetRGBA(1, 0, color.RGBA{0, 102, 204, 255})
	p := newPicture(t)
	if err := p.Decode(encodePNG(t, m)); err != nil {
		t.Fatal(err)
	}
	got := make([]float32, 6)
	if _, err := p.Letterbox(got, 2, 1); err != nil {
		t.Fatal(err)
	}
	want := []float32{1, 0, 0.2, 0.4, 0, 0.8} // red, green, blue: a plane each
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("tensor %v, want %v", got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, data := range [][]byte{encodeJPEG(f, scene(16, 8)), encodePNG(f, scene(8, 8)), claims(64, 48), pngClaims(9, 9), {0xff, 0xd8, 0xff, 0xff}} {
		f.Add(data)
	}
	p := newPicture(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		header, _, headerErr := image.DecodeConfig(bytes.NewReader(data))
		if headerErr == nil && header.Width*header.Height > 1<<20 {
			return // allowed, and slow
		}
		err := p.Decode(data)
		switch w, h := p.Size(); {
		case err != nil && !errors.Is(err, picture.ErrPicture):
			t.Fatalf("%v, want ErrPicture", err)
		case err == nil && headerErr != nil:
			t.Fatalf("taken, but its header is bad: %v", headerErr)
		case err == nil && w*h != header.Width*header.Height: // EXIF may turn it
			t.Fatalf("%dx%d pixels of a header that says %dx%d", w, h, header.Width, header.Height)
		}
	})
}

// A frame's picture of whatever kind, by whatever door it came, is decoded as a person sees it.
func TestDecodeSeesWhatPeopleSee(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../flow/picture/testdata/*.*")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		p := newPicture(t)
		file, refused := encoded.Open(data)
		if err := p.Decode(data); refused != nil {
			if !errors.Is(err, picture.ErrPicture) || !strings.Contains(err.Error(), refused.Error()) {
				t.Errorf("%s: %v, want %v", name, err, refused)
			}
			continue
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want, err := file.Decode()
		if err != nil {
			t.Fatal(err)
		}
		w, h := file.Width, file.Height
		if gotW, gotH := p.Size(); gotW != w || gotH != h {
			t.Errorf("%s: %dx%d, want %dx%d", name, gotW, gotH, w, h)
			continue
		}
		planes := make([]float32, 3*w*h)
		if _, err := p.Letterbox(planes, w, h); err != nil {
			t.Fatal(err)
		}
		sum := 0.0
		for y := range h {
			for x := range w {
				c := want.RGBAAt(x, y)
				for plane, v := range []uint8{c.R, c.G, c.B} {
					sum += math.Abs(255*float64(planes[plane*w*h+y*w+x]) - float64(v))
				}
			}
		}
		if mean := sum / float64(3*w*h); mean > 3 {
			t.Errorf("%s: differs by %.1f in the mean", name, mean)
		}
	}
}

// Pictures are made by many goroutines at once, while others decode.
func TestPicturesAreMadeAtOnce(t *testing.T) {
	t.Parallel()
	data := encodeJPEG(t, scene(64, 48))
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 300 {
				p := picture.NewPicture()
				if err := errors.Join(p.Decode(data), p.Close()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}
