package picture_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/gif"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/image/tiff"

	"github.com/spatial-flow/spatial-flow/flow/picture"
	"github.com/spatial-flow/spatial-flow/flow/reference"
)

// quarters are the colours in the middle of a picture's quarters, row by row.
func quarters(img image.Image) (found [4]color.NRGBA) {
	w, h := img.Bounds().Dx(), img.Bounds().Dy()
	for i := range found {
		found[i] = color.NRGBAModel.Convert(img.At(w/4+i%2*w/2, h/4+i/2*h/2)).(color.NRGBA)
	}
	return found
}

func far(a, b [4]color.NRGBA, most int) bool {
	for i := range a {
		for _, d := range []int{int(a[i].R) - int(b[i].R), int(a[i].G) - int(b[i].G), int(a[i].B) - int(b[i].B), int(a[i].A) - int(b[i].A)} {
			if max(d, -d) > most {
				return true
			}
		}
	}
	return false
}

// turnedQuarters are what is in the quarters once an orientation of 1 to 8 is undone.
func turnedQuarters(orientation int, q [4]color.NRGBA) (out [4]color.NRGBA) {
	for i, from := range [8][4]int{{0, 1, 2, 3}, {1, 0, 3, 2}, {3, 2, 1, 0}, {2, 3, 0, 1}, {0, 2, 1, 3}, {2, 0, 3, 1}, {3, 1, 2, 0}, {1, 3, 0, 2}}[orientation-1] {
		out[i] = q[from]
	}
	return out
}

func TestOrientations(t *testing.T) {
	t.Parallel()
	img := paint(image.NewRGBA(rect), krgw)
	asJPEG, asPNG, asWebP, lossy := jpegOf(t, img), pngOf(t, img), stored(t, "lossless.webp"), stored(t, "lossy.webp")
	pixels := img.Pix
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		for o := range 9 {
			tag := exif(order, uint16(o))
			for name, data := range map[string][]byte{
				"JPEG": jpegWith(asJPEG, tag), "PNG": pngWith(asPNG, tag, false), "PNG, late": pngWith(asPNG, tag, true),
				"WebP": webpWith(asWebP, tag), "lossy WebP": webpWith(lossy, append([]byte("Exif\x00\x00"), tag...)),
				"TIFF": tiffOf(order, pixels, map[uint16]uint32{262: 2, 274: uint32(o), 338: 1}, 8, 8, 8, 8),
			} {
				f, err := picture.Open(data)
				if err != nil {
					t.Fatalf("%s, %v, %d: %v", name, order, o, err)
				}
				if ready := name == "JPEG" && o <= 1; f.Ready() != ready {
					t.Errorf("%s, %v, %d: ready: %v", name, order, o, f.Ready())
				}
				got, err := f.Decode()
				if err != nil {
					t.Fatalf("%s, %v, %d: %v", name, order, o, err)
				}
				size := image.Pt(64, 32)
				if o >= 5 {
					size = image.Pt(32, 64)
				}
				if got.Rect != (image.Rectangle{Max: size}) || f.Width != size.X || f.Height != size.Y {
					t.Fatalf("%s, %v, %d: %v, said to be %dx%d", name, order, o, got.Rect, f.Width, f.Height)
				}
				if q, want := quarters(got), turnedQuarters(max(o, 1), krgw); far(q, want, 12) {
					t.Errorf("%s, %v, %d: %v, want %v", name, order, o, q, want)
				}
			}
		}
	}
}

// Every pixel is turned as its quarter is.
func TestTurnsEveryPixel(t *testing.T) {
	t.Parallel()
	img := image.NewNRGBA(image.Rect(0, 0, 67, 131))
	for y := range 131 {
		for x := range 67 {
			img.SetNRGBA(x, y, color.NRGBA{uint8(x), uint8(y), 0, 255})
		}
	}
	place := []func(x, y int) (int, int){nil, nil,
		func(x, y int) (int, int) { return 66 - x, y }, func(x, y int) (int, int) { return 66 - x, 130 - y }, func(x, y int) (int, int) { return x, 130 - y },
		func(x, y int) (int, int) { return y, x }, func(x, y int) (int, int) { return 130 - y, x },
		func(x, y int) (int, int) { return 130 - y, 66 - x }, func(x, y int) (int, int) { return y, 66 - x }}
	for o := 2; o <= 8; o++ {
		f, err := picture.Open(pngWith(pngOf(t, img), exif(binary.BigEndian, uint16(o)), false))
		if err != nil {
			t.Fatal(err)
		}
		got, err := f.Decode()
		if err != nil {
			t.Fatal(err)
		}
		for y := range 131 {
			for x := range 67 {
				tx, ty := place[o](x, y)
				if c := got.RGBAAt(tx, ty); c != (color.RGBA{uint8(x), uint8(y), 0, 255}) {
					t.Fatalf("%d: pixel %d,%d is at %d,%d: %v", o, x, y, tx, ty, c)
				}
			}
		}
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	half := color.NRGBA{0, 0, 255, 102}
	blue40 := color.NRGBA{153, 153, 255, 255} // 40 % of blue on white
	grey := color.NRGBA{128, 128, 128, 255}
	clear := [4]color.NRGBA{half, red, {}, white}
	onWhite := [4]color.NRGBA{blue40, red, white, white}
	shades := [4]color.NRGBA{black, grey, white, black}
	quartersOf := func(each func(i int) []byte) (out []byte) {
		for y := range 32 {
			for x := range 64 {
				out = append(out, each(y/16*2+x/32)...)
			}
		}
		return out
	}
	var gifFile bytes.Buffer
	palette := color.Palette{black, red, green, white, color.NRGBA{}}
	first, second := paint(image.NewPaletted(rect, palette), krgw), paint(image.NewPaletted(rect, palette), [4]color.NRGBA{white, white, white, white})
	if err := gif.EncodeAll(&gifFile, &gif.GIF{Image: []*image.Paletted{first, second}, Delay: []int{1, 1}}); err != nil {
		t.Fatal(err)
	}
	var small bytes.Buffer // one whose first picture is smaller than the whole
	if err := gif.EncodeAll(&small, &gif.GIF{Image: []*image.Paletted{paint(image.NewPaletted(rect, palette), krgw).SubImage(image.Rect(32, 0, 64, 32)).(*image.Paletted)}, Delay: []int{1}, Config: image.Config{ColorModel: palette, Width: 64, Height: 32}}); err != nil {
		t.Fatal(err)
	}
	deflated := new(bytes.Buffer)
	if err := tiff.Encode(deflated, paint(image.NewRGBA(rect), krgw), &tiff.Options{Compression: tiff.Deflate, Predictor: true}); err != nil {
		t.Fatal(err)
	}
	rgb := quartersOf(func(i int) []byte { return []byte{krgw[i].R, krgw[i].G, krgw[i].B} })
	bits := bytes.Repeat(append(bytes.Repeat([]byte{0}, 4), bytes.Repeat([]byte{255}, 4)...), 32) // left 0, right 1
	leftRight := [4]color.NRGBA{black, white, black, white}
	bottomUp := func(each func(i int) []byte) []byte {
		return quartersOf(func(i int) []byte { return each((i + 2) % 4) })
	}
	bmpPalette := []byte{0, 0, 0, 0, 0, 0, 255, 0, 0, 255, 0, 0, 255, 255, 255, 0}
	runs8, runs4 := []byte{}, []byte{}
	for y := range 32 {
		row := byte((1 - y/16) * 2)
		runs8 = append(runs8, 32, row, 0, 31)
		runs8 = append(append(runs8, bytes.Repeat([]byte{row + 1}, 31)...), 0, 1, row+1, 0, 0)
		runs4 = append(runs4, 32, row<<4|row, 32, (row+1)<<4|row+1, 0, 0)
	}
	inks := [4][4]uint8{{0, 0, 0, 255}, {0, 255, 255, 0}, {255, 0, 255, 0}, {0, 0, 0, 0}}
	inverted := inks
	for i := range inverted {
		for j := range inverted[i] {
			inverted[i][j] = 255 - inverted[i][j]
		}
	}
	ycck := [4][4]uint8{}
	for i, c := range krgw {
		y, cb, cr := color.RGBToYCbCr(255-c.R, 255-c.G, 255-c.B) // what is stored is inverted twice
		ycck[i] = [4]uint8{y, cb, cr, 255}
	}
	adobe := func(transform byte) []byte { return append([]byte("Adobe\x00\x64\x00\x00\x00\x00"), transform) }
	le, be := binary.LittleEndian, binary.BigEndian
	for _, test := range []struct {
		name string
		data []byte
		want [4]color.NRGBA
	}{
		{"JPEG", jpegOf(t, paint(image.NewRGBA(rect), krgw)), krgw},
		{"grey JPEG", jpegOf(t, paint(image.NewGray(rect), shades)), shades},
		{"inks as Adobe stores them", inksOf(inverted, adobe(0)), krgw},
		{"inks as luma and chroma", inksOf(ycck, adobe(2)), krgw},
		{"inks as they are", inksOf(inks, nil), krgw},
		{"a JPEG behind a JPEG", append(jpegOf(t, paint(image.NewRGBA(rect), krgw)), jpegOf(t, paint(image.NewGray(rect), shades))...), krgw},
		{"PNG with alpha", pngOf(t, paint(image.NewNRGBA(rect), clear)), onWhite},
		{"16 bit with alpha", pngOf(t, paint(image.NewNRGBA64(rect), clear)), onWhite},
		{"16 bit", pngOf(t, paint(image.NewRGBA64(rect), krgw)), krgw},
		{"16 bit grey", pngOf(t, paint(image.NewGray16(rect), shades)), shades},
		{"palette", pngOf(t, first), krgw},
		{"palette with a clear colour", pngOf(t, paint(image.NewPaletted(rect, color.Palette{half, red, color.NRGBA{}, white}), clear)), onWhite},
		{"bilevel", pngOf(t, paint(image.NewPaletted(rect, color.Palette{black, white}), leftRight)), leftRight},
		{"GIF", gifFile.Bytes(), krgw},
		{"GIF with a smaller picture", small.Bytes(), [4]color.NRGBA{white, red, white, white}},
		{"lossless WebP", stored(t, "lossless.webp"), krgw},
		{"lossy WebP", stored(t, "lossy.webp"), krgw},
		{"WebP with alpha", stored(t, "alpha.webp"), [4]color.NRGBA{blue40, red, green, white}},
		{"animated WebP", stored(t, "animated.webp"), [4]color.NRGBA{blue40, red, green, white}},
		{"TIFF, LZW", stored(t, "lzw.tif"), krgw},
		{"TIFF, PackBits", stored(t, "packbits.tif"), krgw},
		{"TIFF, Deflate", deflated.Bytes(), krgw},
		{"TIFF, big endian", tiffOf(be, rgb, map[uint16]uint32{262: 2}, 8, 8, 8), krgw},
		{"TIFF, little endian", tiffOf(le, rgb, map[uint16]uint32{262: 2}, 8, 8, 8), krgw},
		{"TIFF, bilevel, white is zero", tiffOf(be, bits, map[uint16]uint32{262: 0}, 1), [4]color.NRGBA{white, black, white, black}},
		{"TIFF, bilevel, black is zero", tiffOf(le, bits, map[uint16]uint32{262: 1}, 1), leftRight},
		{"TIFF, 16 bit grey", tiffOf(be, quartersOf(func(i int) []byte { return []byte{shades[i].R, shades[i].R} }), map[uint16]uint32{262: 1}, 16), shades},
		{"TIFF with alpha", tiffOf(le, quartersOf(func(i int) []byte { return []byte{clear[i].R, clear[i].G, clear[i].B, clear[i].A} }), map[uint16]uint32{262: 2, 338: 2}, 8, 8, 8, 8), onWhite},
		{"BMP", bmpOf(24, 0, nil, bottomUp(func(i int) []byte { return []byte{krgw[i].B, krgw[i].G, krgw[i].R} })), krgw},
		{"BMP, 32 bit, alpha left zero", bmpOf(32, 0, nil, bottomUp(func(i int) []byte { return []byte{krgw[i].B, krgw[i].G, krgw[i].R, 0} })), krgw},
		{"BMP, 5-5-5", bmpOf(16, 0, nil, bottomUp(func(i int) []byte { return le.AppendUint16(nil, []uint16{0, 31 << 10, 31 << 5, 0x7fff}[i]) })), krgw},
		{"BMP, 5-6-5", bmpOf(16, 3, []byte{0, 0xf8, 0, 0, 0xe0, 7, 0, 0, 31, 0, 0, 0}, bottomUp(func(i int) []byte { return le.AppendUint16(nil, []uint16{0, 0xf800, 0x7e0, 0xffff}[i]) })), krgw},
		{"BMP, palette", bmpOf(8, 0, append(bytes.Clone(bmpPalette), make([]byte, 1008)...), bottomUp(func(i int) []byte { return []byte{byte(i)} })), krgw},
		{"BMP, bilevel", bmpOf(1, 0, []byte{0, 0, 0, 0, 255, 255, 255, 0}, bits), leftRight},
		{"BMP, runs of bytes", bmpOf(8, 1, append(bytes.Clone(bmpPalette), make([]byte, 1008)...), append(runs8, 0, 1)), krgw},
		{"BMP, runs of 4 bits", bmpOf(4, 2, append(bytes.Clone(bmpPalette), make([]byte, 48)...), append(runs4, 0, 1)), krgw},
	} {
		f, err := picture.Open(test.data)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		img, err := f.Decode()
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if got := quarters(img); far(got, test.want, 12) || img.Rect != rect {
			t.Errorf("%s: %v of %v, want %v", test.name, got, img.Rect, test.want)
		}
		if ready := strings.Contains(test.name, "JPEG"); f.Ready() != ready {
			t.Errorf("%s: ready: %v", test.name, f.Ready())
		}
		for cut := range len(test.data) {
			if f, err := picture.Open(test.data[:cut]); err == nil {
				_, _ = f.Decode() // an error or not, but no panic
			}
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	ftyp := func(brands string) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(8+len(brands))), "ftyp"+brands...)
	}
	le := binary.LittleEndian
	pixels := make([]byte, 64*32*4)
	huge := pngOf(t, image.NewGray(image.Rect(0, 0, 1, 1)))
	binary.BigEndian.PutUint32(huge[16:], 30000)
	binary.BigEndian.PutUint32(huge[20:], 30000)
	huge = append(append(bytes.Clone(huge[:8]), pngChunk("IHDR", huge[16:29])...), huge[33:]...)
	for _, test := range []struct {
		name, says string
		data       []byte
		is         error
	}{
		{"HEIC", "HEIC: convert it to JPEG", ftyp("heic\x00\x00\x00\x00mif1heic"), picture.ErrKind},
		{"HEIC by its second brand", "HEIC: convert it to JPEG", ftyp("mif1\x00\x00\x00\x00heic"), picture.ErrKind},
		{"AVIF", "AVIF: convert it to JPEG", ftyp("mif1\x00\x00\x00\x00avif"), picture.ErrKind},
		{"CR3", "RAW: convert it to JPEG", ftyp("crx \x00\x00\x00\x01crx isom"), picture.ErrKind},
		{"CR2", "RAW: convert it to JPEG", []byte("II*\x00\x10\x00\x00\x00CR\x02\x00"), picture.ErrKind},
		{"a film", "a film", ftyp("isom\x00\x00\x02\x00isomiso2avc1mp41"), picture.ErrBroken},
		{"JPEG XL", "JPEG XL", []byte("\xff\x0a1234"), picture.ErrKind},
		{"JPEG XL in a box", "JPEG XL", []byte("\x00\x00\x00\x0cJXL \r\n\x87\n"), picture.ErrKind},
		{"PSD", "PSD", []byte("8BPS\x00\x01"), picture.ErrKind},
		{"BigTIFF", "BigTIFF", []byte("II+\x00\x08\x00"), picture.ErrKind},
		{"a camera's TIFF", "TIFF: a camera's raw data; convert it to JPEG", tiffOf(le, pixels, map[uint16]uint32{254: 1, 262: 2}, 8, 8, 8), picture.ErrKind},
		{"TIFF in planes", "planes", tiffOf(le, pixels, map[uint16]uint32{262: 2, 284: 2}, 8, 8, 8), picture.ErrKind},
		{"TIFF of inks", "TIFF: ", tiffOf(le, pixels, map[uint16]uint32{262: 5}, 8, 8, 8, 8), picture.ErrKind},
		{"TIFF in JPEG", "compression", tiffOf(le, pixels, map[uint16]uint32{259: 7, 262: 2}, 8, 8, 8), picture.ErrKind},
		{"a PNG in a BMP", "BMP: 0 bits a pixel", bmpOf(0, 5, nil, nil), picture.ErrKind},
		{"text", "begins like no", []byte("no picture"), picture.ErrBroken},
		{"nothing", "begins like no", nil, picture.ErrBroken},
		{"a bomb", "30000x30000, want 1 to 67108864 pixels", huge, picture.ErrBroken},
		{"too wide", "a side of at most 65535", pngOf(t, image.NewGray(image.Rect(0, 0, 1<<16, 1))), picture.ErrBroken},
		{"a JPEG that is cut", "cut short", jpegOf(t, paint(image.NewRGBA(rect), krgw))[:620], picture.ErrBroken},
		{"a PNG that is cut", "PNG: ", pngOf(t, paint(image.NewRGBA(rect), krgw))[:60], picture.ErrBroken},
		{"a BMP that is cut", "BMP: ", bmpOf(24, 0, nil, pixels[:100]), picture.ErrBroken},
		{"a WebP that is cut", "WebP: ", stored(t, "lossless.webp")[:40], picture.ErrBroken},
	} {
		f, err := picture.Open(test.data)
		if err == nil {
			_, err = f.Decode()
		}
		if !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want %v that says %q", test.name, err, test.is, test.says)
		}
	}
}

// Files as people have them, made from one photograph, look like it.
func TestPeoplesPictures(t *testing.T) {
	t.Parallel()
	folder := reference.Path(t, "cases", "pictures")
	decode := func(name string) (picture.File, *image.RGBA, error) {
		data, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		f, err := picture.Open(data)
		if err != nil {
			return f, nil, err
		}
		img, err := f.Decode()
		return f, img, err
	}
	_, plain, err := decode("plain.jpg")
	if err != nil {
		t.Fatal(err)
	}
	asIs := func(x int, c color.RGBA) color.RGBA { return c }
	grey := func(x int, c color.RGBA) color.RGBA {
		y := color.GrayModel.Convert(c).(color.Gray).Y
		return color.RGBA{y, y, y, 255}
	}
	faded := func(x int, c color.RGBA) color.RGBA { // ever less transparent from left to right, on white
		a := x * 255 / (plain.Rect.Dx() - 1)
		on := func(v uint8) uint8 { return uint8((int(v)*a + 255*(255-a)) / 255) }
		return color.RGBA{on(c.R), on(c.G), on(c.B), 255}
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		name := entry.Name()
		if name == "recipe.py" {
			continue
		}
		f, img, err := decode(name)
		if name == "cut.jpg" {
			if !errors.Is(err, picture.ErrBroken) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want, most := asIs, 4.0
		switch name {
		case "grey16.png", "grey-alpha.png":
			want = grey
		case "alpha.png":
			want = faded
		case "bilevel.png":
			want, most = grey, 110 // single pixels are black or white
		}
		ready := strings.HasSuffix(name, ".jpg") && name != "named.png.jpg" && name != "cmyk.jpg" && name != "exif6.jpg"
		if f.Ready() != ready || img.Rect != plain.Rect {
			t.Errorf("%s: ready: %v, %v, want %v, %v", name, f.Ready(), img.Rect, ready, plain.Rect)
			continue
		}
		sum := 0
		for y := range plain.Rect.Dy() {
			for x := range plain.Rect.Dx() {
				a, b := img.RGBAAt(x, y), want(x, plain.RGBAAt(x, y))
				for _, d := range []int{int(a.R) - int(b.R), int(a.G) - int(b.G), int(a.B) - int(b.B)} {
					sum += max(d, -d)
				}
			}
		}
		if mean := float64(sum) / float64(3*plain.Rect.Dx()*plain.Rect.Dy()); mean > most {
			t.Errorf("%s: differs by %.1f in the mean", name, mean)
		}
	}
}

// FuzzOpen opens and decodes anything.
func FuzzOpen(f *testing.F) {
	img := paint(image.NewNRGBA(rect), krgw)
	tag := exif(binary.LittleEndian, 6)
	f.Add(jpegWith(jpegOf(f, img), tag))
	f.Add(pngWith(pngOf(f, img), tag, false))
	f.Add(webpWith(stored(f, "lossless.webp"), tag))
	f.Add(stored(f, "animated.webp"))
	f.Add(stored(f, "alpha.webp"))
	f.Add(stored(f, "lzw.tif"))
	f.Add(tiffOf(binary.BigEndian, img.Pix, map[uint16]uint32{262: 2, 338: 2}, 8, 8, 8, 8))
	f.Add(bmpOf(32, 3, []byte{0, 0, 255, 0, 0, 255, 0, 0, 255, 0, 0, 0}, img.Pix))
	f.Add(bmpOf(8, 1, make([]byte, 1024), []byte{32, 1, 0, 3, 1, 2, 3, 0, 0, 2, 1, 1, 0, 1}))
	f.Add([]byte("GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := picture.Open(data)
		if err != nil {
			if !errors.Is(err, picture.ErrBroken) && !errors.Is(err, picture.ErrKind) {
				t.Fatal(err)
			}
			return
		}
		if file.Width*file.Height > 1<<20 {
			return // large pictures take the fuzzer's time
		}
		img, err := file.Decode()
		if err == nil && (img.Rect.Dx() != file.Width || img.Rect.Dy() != file.Height || !img.Opaque()) {
			t.Fatalf("%v of %+v", img.Rect, file)
		}
	})
}
