package source

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gocv.io/x/gocv"

	"github.com/spatial-flow/spatial-flow/flow/picture"
)

// halves is a JPEG whose left half is white and whose right half is black.
func halves(t testing.TB, width, height int) []byte {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width / 2 {
			img.SetGray(x, y, color.Gray{Y: 255})
		}
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, img, nil); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// withEXIF puts an orientation behind a JPEG's first two bytes.
func withEXIF(data []byte, order binary.AppendByteOrder, orientation uint16) []byte {
	tiff := []byte("II*\x00")
	if order == binary.AppendByteOrder(binary.BigEndian) {
		tiff = []byte("MM\x00*")
	}
	tiff = order.AppendUint32(tiff, 8)
	tiff = order.AppendUint16(tiff, 1)
	tiff = order.AppendUint16(tiff, 0x0112)
	tiff = order.AppendUint16(tiff, 3)
	tiff = order.AppendUint32(tiff, 1)
	tiff = order.AppendUint16(tiff, orientation)
	tiff = order.AppendUint16(tiff, 0)
	tiff = order.AppendUint32(tiff, 0)
	segment := append([]byte("Exif\x00\x00"), tiff...)
	out := append([]byte{0xff, 0xd8, 0xff, 0xe1}, binary.BigEndian.AppendUint16(nil, uint16(len(segment)+2))...)
	return append(append(out, segment...), data[2:]...)
}

// takeFile runs bytes through the intake as a file of that name.
func takeFile(t testing.TB, name string, data []byte) Picture {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	in := Intake{Settings{Quality: 90}}
	return in.file(path)
}

func TestOrientation(t *testing.T) {
	plain := halves(t, 64, 32)
	// Where the white half is after turning: left, right, top or bottom.
	white := map[uint16]string{2: "right", 3: "right", 4: "left", 5: "top", 6: "top", 7: "bottom", 8: "bottom"}
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		for o, want := range white {
			data := withEXIF(plain, order, o)
			p := takeFile(t, "turned.jpg", data)
			if p.Broken != "" {
				t.Fatal(p.Broken)
			}
			img, err := jpeg.Decode(bytes.NewReader(p.Data))
			if err != nil {
				t.Fatal(err)
			}
			w, h := 64, 32
			if o >= 5 {
				w, h = h, w
			}
			if img.Bounds().Dx() != w || img.Bounds().Dy() != h || p.Width != w || p.Height != h {
				t.Errorf("orientation %d: picture of %v, said to be %dx%d, want %dx%d", o, img.Bounds(), p.Width, p.Height, w, h)
			}
			at := map[string]image.Point{"left": {4, h / 2}, "right": {w - 5, h / 2}, "top": {w / 2, 4}, "bottom": {w / 2, h - 5}}
			for place, point := range at {
				if light := color.GrayModel.Convert(img.At(point.X, point.Y)).(color.Gray).Y > 250; light && opposite(place) == want || !light && place == want {
					t.Errorf("orientation %d: light %s: %v, want the white half %s", o, place, light, want)
				}
			}
			if file, err := picture.Open(p.Data); err != nil || !file.Ready() {
				t.Errorf("orientation %d: the turned picture says that it is to be turned", o)
			}
		}
		if upright := withEXIF(plain, order, 1); !bytes.Equal(takeFile(t, "a.jpg", upright).Data, upright) {
			t.Errorf("%v: an upright JPEG did not travel byte for byte", order)
		}
	}
}

// OpenCV, which decodes in the workers what travels byte for byte, must agree with what says whether a JPEG is to be turned.
func TestOrientationIsThatOfOpenCV(t *testing.T) {
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		for kind := range uint16(13) {
			data := withEXIF(halves(t, 64, 32), order, 6)
			at := bytes.Index(data, order.AppendUint16(order.AppendUint16(nil, 0x0112), 3)) + 2
			copy(data[at:], order.AppendUint16(nil, kind))
			mat, err := gocv.IMDecode(data, gocv.IMReadColor)
			if err != nil {
				t.Fatal(err)
			}
			file, err := picture.Open(data)
			if err != nil {
				t.Fatal(err)
			}
			if turned := mat.Cols() < mat.Rows(); turned == file.Ready() {
				t.Errorf("%v, type %d: ready: %v; OpenCV has turned it: %v", order, kind, file.Ready(), turned)
			}
			mat.Close()
		}
	}
}

func opposite(place string) string {
	return map[string]string{"left": "right", "right": "left", "top": "bottom", "bottom": "top"}[place]
}

func TestFormats(t *testing.T) {
	mat := gocv.NewMatWithSizeFromScalar(gocv.NewScalar(40, 80, 120, 0), 30, 50, gocv.MatTypeCV8UC3)
	defer mat.Close()
	for _, ext := range []string{".png", ".bmp", ".webp"} {
		buffer, err := gocv.IMEncode(gocv.FileExt(ext), mat)
		if err != nil {
			t.Fatal(err)
		}
		data := bytes.Clone(buffer.GetBytes())
		buffer.Close()
		p := takeFile(t, "mislabelled.jpg", data)
		config, err := jpeg.DecodeConfig(bytes.NewReader(p.Data))
		if err != nil || p.Broken != "" || config.Width != 50 || config.Height != 30 || p.Width != 50 || p.Height != 30 {
			t.Errorf("%s became %+v, %v, %s", ext, config, err, p.Broken)
		}
	}
}

func TestBrokenPictures(t *testing.T) {
	plain := halves(t, 64, 32)
	huge := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"), "\xff\xff\xff\xff\xff\xff\xff\xff\x08\x02\x00\x00\x00\x00\x00\x00\x00"...)
	wide := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"), "\x00\x01\x11\x70\x00\x00\x00\x01\x08\x02\x00\x00\x00\x00\x00\x00\x00"...)
	big := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"), "\x00\x00\x40\x00\x00\x00\x10\x01\x08\x02\x00\x00\x00\x00\x00\x00\x00"...)
	for name, data := range map[string][]byte{
		"empty.jpg": nil, "text.jpg": []byte("no picture"), "cut.jpg": plain[:20], "cut.png": big[:20], "huge.png": huge, "big.png": big, "wide.png": wide,
		"cut.webp": []byte("RIFF\x10\x00\x00\x00WEBPVP8 "), "chunk.webp": []byte("RIFF\x10\x00\x00\x00WEBPABCD0123456789012345"),
		"end.jpg": plain[:len(plain)-2], "turned.jpg": withEXIF(plain, binary.BigEndian, 6)[:len(plain)],
		"pixels.bmp": append([]byte("BM"), make([]byte, 60)...),
	} {
		p := takeFile(t, name, data)
		broken := strings.HasPrefix(p.Broken, name+": "+picture.ErrBroken.Error()) || strings.HasPrefix(p.Broken, name+": "+picture.ErrKind.Error())
		if !broken || p.Data != nil {
			t.Errorf("%s: %q, %d bytes", name, p.Broken, len(p.Data))
		}
	}
	in := Intake{Settings{Quality: 90}}
	if p := in.file(filepath.Join(t.TempDir(), "gone.jpg")); !strings.Contains(p.Broken, "gone.jpg") {
		t.Errorf("a missing file: %q", p.Broken)
	}
}

// TestTooLarge gives a picture of noise, which JPEG can't compress: at quality 90 it exceeds a message.
func TestTooLarge(t *testing.T) {
	mat := gocv.NewMatWithSize(1800, 2400, gocv.MatTypeCV8UC3)
	defer mat.Close()
	gocv.RandU(&mat, gocv.NewScalar(0, 0, 0, 0), gocv.NewScalar(255, 255, 255, 0))
	buffer, err := gocv.IMEncodeWithParams(gocv.JPEGFileExt, mat, []int{gocv.IMWriteJpegQuality, 95})
	if err != nil {
		t.Fatal(err)
	}
	data := bytes.Clone(buffer.GetBytes())
	buffer.Close()
	if len(data) <= maxPicture {
		t.Fatalf("the test's picture has only %d bytes", len(data))
	}
	p := takeFile(t, "noise.jpg", data)
	if p.Broken != "" || len(p.Data) > maxPicture || len(p.Data) == 0 || p.Width != 2400 || p.Height != 1800 {
		t.Errorf("%d bytes became %d, %dx%d, %q", len(data), len(p.Data), p.Width, p.Height, p.Broken)
	}
}
