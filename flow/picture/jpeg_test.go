package picture_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/jpeg"
	"strings"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow/picture"
)

func smallJPEG(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := jpeg.Encode(&out, image.NewRGBA(image.Rect(0, 0, 64, 48)), nil); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// scans is a JPEG that says it is of side × side pixels, progressive, in n scans without data.
func scans(side, n int) []byte {
	data := []byte{0xff, 0xd8, 0xff, 0xc2, 0, 11, 8}
	data = binary.BigEndian.AppendUint16(data, uint16(side))
	data = binary.BigEndian.AppendUint16(data, uint16(side))
	data = append(data, 1, 1, 0x11, 0)
	data = append(data, bytes.Repeat([]byte{0xff, 0xda, 0, 8, 1, 1, 0, 1, 63, 0}, n)...)
	return append(data, 0xff, 0xd9)
}

func TestCheckJPEG(t *testing.T) {
	whole := smallJPEG(t)
	scan := bytes.Index(whole, []byte{0xff, 0xda})
	thumbnail := append([]byte{0xff, 0xd8, 0xff, 0xe1, byte((len(whole) + 2) >> 8), byte(len(whole) + 2)}, whole...)
	for _, test := range []struct {
		name string
		data []byte
		says string // "": it is good
	}{
		{"whole", whole, ""},
		{"and more after its end", append(bytes.Clone(whole), "a film"...), ""},
		{"fill bytes before a marker", append([]byte{0xff, 0xd8, 0xff, 0xff}, whole[2:]...), ""},
		{"its end is missing", whole[:len(whole)-2], "64x48 is cut short"},
		{"half its pixels", whole[:(scan+len(whole))/2], "64x48 is cut short"},
		{"no pixels", append(bytes.Clone(whole[:scan]), 0xff, 0xd9), "64x48 is cut short"},
		{"a whole thumbnail, half a picture", append(thumbnail, whole[2:scan+4]...), "is cut short"},
		{"a segment longer than the data", []byte{0xff, 0xd8, 0xff, 0xe0, 0xff, 0xff}, "is cut short"},
		{"nothing", nil, "is cut short"},
		{"as many scans as may be", scans(8, 200), ""},
		{"one more", scans(8, 201), "8x8 in 201 or more scans"},
		{"16 scans of 64 Mi pixels", scans(8192, 16), ""},
		{"17", scans(8192, 17), "8192x8192 in 17 or more scans"},
	} {
		err := picture.CheckJPEG(test.data)
		if test.says == "" && err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if test.says != "" && (!errors.Is(err, picture.ErrJPEG) || !strings.Contains(err.Error(), test.says)) {
			t.Errorf("%s: %v, want ErrJPEG that says %q", test.name, err, test.says)
		}
	}
}

// FuzzCheckJPEG reads anything.
func FuzzCheckJPEG(f *testing.F) {
	f.Add(smallJPEG(f))
	f.Add(scans(8, 3))
	f.Fuzz(func(t *testing.T, data []byte) {
		if f, err := picture.Open(data); err == nil && (f.Width < 1 || f.Height < 1) {
			t.Fatalf("%+v", f)
		}
		if picture.CheckJPEG(data) == nil && !bytes.Contains(data, []byte{0xff, 0xd9}) {
			t.Fatal("a JPEG without an end is whole")
		}
	})
}

func BenchmarkCheckJPEG(b *testing.B) {
	img := image.NewRGBA(image.Rect(0, 0, 768, 576))
	for i := range img.Pix {
		img.Pix[i] = byte(i * i >> 7)
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, img, nil); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(out.Len()))
	for b.Loop() {
		if err := picture.CheckJPEG(out.Bytes()); err != nil {
			b.Fatal(err)
		}
	}
}
