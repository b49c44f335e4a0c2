package picture_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math/bits"
	"os"
	"testing"
)

var (
	black = color.NRGBA{0, 0, 0, 255}
	red   = color.NRGBA{255, 0, 0, 255}
	green = color.NRGBA{0, 255, 0, 255}
	white = color.NRGBA{255, 255, 255, 255}
)

// paint fills img, of 64x32, with four quarters, row by row.
func paint[T interface {
	Set(x, y int, c color.Color)
	Bounds() image.Rectangle
}](img T, quarters [4]color.NRGBA) T {
	for y := range 32 {
		for x := range 64 {
			img.Set(x, y, quarters[y/16*2+x/32])
		}
	}
	return img
}

var (
	rect = image.Rect(0, 0, 64, 32)
	krgw = [4]color.NRGBA{black, red, green, white}
)

func jpegOf(t testing.TB, img image.Image) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := jpeg.Encode(&out, img, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func pngOf(t testing.TB, img image.Image) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func stored(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// exif is EXIF data with nothing but an orientation.
func exif(order binary.AppendByteOrder, orientation uint16) []byte {
	tiff := []byte("II*\x00")
	if order == binary.AppendByteOrder(binary.BigEndian) {
		tiff = []byte("MM\x00*")
	}
	tiff = order.AppendUint32(tiff, 8)
	for _, v := range []uint16{1, 0x0112, 3} {
		tiff = order.AppendUint16(tiff, v)
	}
	tiff = order.AppendUint32(tiff, 1)
	tiff = order.AppendUint16(tiff, orientation)
	return append(tiff, make([]byte, 6)...)
}

func jpegWith(data, exif []byte) []byte {
	segment := append([]byte("Exif\x00\x00"), exif...)
	out := binary.BigEndian.AppendUint16([]byte{0xff, 0xd8, 0xff, 0xe1}, uint16(len(segment)+2))
	return append(append(out, segment...), data[2:]...)
}

func pngChunk(kind string, content []byte) []byte {
	body := append([]byte(kind), content...)
	out := binary.BigEndian.AppendUint32(nil, uint32(len(content)))
	return binary.BigEndian.AppendUint32(append(out, body...), crc32.ChecksumIEEE(body))
}

// pngWith puts EXIF data behind the header, or, late, behind the pixels.
func pngWith(data, exif []byte, late bool) []byte {
	at := 8 + 25
	if late {
		at = len(data) - 12
	}
	return append(append(bytes.Clone(data[:at]), pngChunk("eXIf", exif)...), data[at:]...)
}

func riffChunk(kind string, content []byte) []byte {
	out := binary.LittleEndian.AppendUint32([]byte(kind), uint32(len(content)))
	out = append(out, content...)
	return append(out, make([]byte, len(content)%2)...)
}

// webpWith makes a simple file an extended one with EXIF data.
func webpWith(data, exif []byte) []byte {
	body := append([]byte("WEBP"), riffChunk("VP8X", []byte{8, 0, 0, 0, 63, 0, 0, 31, 0, 0})...)
	body = append(body, data[12:]...)
	return riffChunk("RIFF", append(body, riffChunk("EXIF", exif)...))
}

// tiffOf is an uncompressed TIFF of 64x32 in one strip. Tags are numbers, which a missing count of bits follows as BitsPerSample.
func tiffOf(order binary.AppendByteOrder, pixels []byte, tags map[uint16]uint32, bits ...uint16) []byte {
	out := []byte("II*\x00")
	if order == binary.AppendByteOrder(binary.BigEndian) {
		out = []byte("MM\x00*")
	}
	all := map[uint16]uint32{256: 64, 257: 32, 259: 1, 277: uint32(len(bits)), 278: 32, 279: uint32(len(pixels))}
	for tag, value := range tags {
		all[tag] = value
	}
	all[258], all[273] = 0, 0
	n := len(all)
	behind := 8 + 2 + 12*n + 4
	out = order.AppendUint32(out, 8)
	out = order.AppendUint16(out, uint16(n))
	for tag := range uint16(1 << 15) {
		value, ok := all[tag]
		if !ok {
			continue
		}
		kind, count := uint16(4), uint32(1)
		switch tag {
		case 258:
			kind, count, value = 3, uint32(len(bits)), uint32(behind)
		case 273:
			value = uint32(behind + 2*len(bits))
		}
		out = order.AppendUint16(order.AppendUint16(out, tag), kind)
		out = order.AppendUint32(out, count)
		if kind == 3 && count <= 2 {
			for i := range 2 {
				if i < len(bits) {
					out = order.AppendUint16(out, bits[i])
				} else {
					out = order.AppendUint16(out, 0)
				}
			}
			continue
		}
		out = order.AppendUint32(out, value)
	}
	out = order.AppendUint32(out, 0)
	for _, b := range bits {
		out = order.AppendUint16(out, b)
	}
	return append(out, pixels...)
}

// bmpOf is a BMP of 64x32; palette and masks lie between its header and its pixels.
func bmpOf(depth uint16, compression uint32, between, pixels []byte) []byte {
	le := binary.LittleEndian
	out := le.AppendUint32([]byte("BM"), 0)
	out = le.AppendUint32(out, 0)
	out = le.AppendUint32(out, uint32(54+len(between)))
	for _, v := range []uint32{40, 64, 32} {
		out = le.AppendUint32(out, v)
	}
	out = le.AppendUint16(le.AppendUint16(out, 1), depth)
	out = le.AppendUint32(out, compression)
	out = append(out, make([]byte, 20)...)
	return append(append(out, between...), pixels...)
}

// inksOf is a JPEG of 64x32 and four components, each quarter of one colour. Its blocks have nothing but a first coefficient,
// coded without a table worth the name.
func inksOf(quarters [4][4]uint8, adobe []byte) []byte {
	out := []byte{0xff, 0xd8}
	segment := func(marker byte, content ...byte) {
		out = binary.BigEndian.AppendUint16(append(out, 0xff, marker), uint16(len(content)+2))
		out = append(out, content...)
	}
	if adobe != nil {
		segment(0xee, adobe...)
	}
	segment(0xdb, append([]byte{0}, bytes.Repeat([]byte{1}, 64)...)...)
	segment(0xc0, 8, 0, 32, 0, 64, 4, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0, 4, 0x11, 0)
	segment(0xc4, 0, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11) // codes of 4 bits
	segment(0xc4, 0x10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)                                  // 0: end of block
	segment(0xda, 4, 1, 0, 2, 0, 3, 0, 4, 0, 0, 63, 0)
	var pending, count uint32
	put := func(value, n uint32) {
		for i := range n {
			pending, count = pending<<1|value>>(n-1-i)&1, count+1
			if count%8 == 0 {
				out = append(out, byte(pending))
				if byte(pending) == 0xff {
					out = append(out, 0)
				}
			}
		}
	}
	var last [4]int32
	for y := range 4 {
		for x := range 8 {
			for c := range 4 {
				dc := 8 * (int32(quarters[y/2*2+x/4][c]) - 128)
				diff := dc - last[c]
				last[c] = dc
				size := uint32(bits.Len32(uint32(max(diff, -diff))))
				put(size, 4)
				if diff < 0 {
					diff += 1<<size - 1
				}
				put(uint32(diff), size)
				put(0, 1)
			}
		}
	}
	put(127, 7)
	return append(out, 0xff, 0xd9)
}
