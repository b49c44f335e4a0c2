package picture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"math/bits"
)

// Compressions of a BMP: https://learn.microsoft.com/windows/win32/api/wingdi/ns-wingdi-bitmapinfoheader
const (
	bmpRGB       = 0
	bmpRLE8      = 1
	bmpRLE4      = 2
	bmpFields    = 3
	bmpFieldsAll = 6 // with a mask of transparency
)

const (
	bmpFileHeader = 14
	bmpCoreHeader = 12 // OS/2's, with sizes of 16 bits
	bmpInfoHeader = 40
)

var errBMP = errors.New("data that end early, or contradict themselves")

// bmpHeader is what the headers of a BMP say.
type bmpHeader struct {
	width, height int
	topDown       bool
	depth         int // bits of a pixel
	compression   uint32
	masks         [4]uint32 // of red, green, blue and transparency, for 16 and 32 bits
	palette       color.Palette
	pixels        []byte
}

func bmpConfig(data []byte) (image.Config, error) {
	h, err := readBMPHeader(data)
	return image.Config{Width: h.width, Height: h.height}, err
}

func readBMPHeader(data []byte) (h bmpHeader, err error) {
	if len(data) < bmpFileHeader+bmpCoreHeader {
		return h, errBMP
	}
	u16 := func(at int) int { return int(binary.LittleEndian.Uint16(data[at:])) }
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(data[at:]) }
	size := u32(14)
	entry, used := 4, 0
	switch {
	case size == bmpCoreHeader:
		h.width, h.height, h.depth, entry = u16(18), u16(20), u16(24), 3
	case size >= bmpInfoHeader && uint64(size) <= uint64(len(data)-bmpFileHeader):
		h.width, h.height, h.depth, h.compression = int(int32(u32(18))), int(int32(u32(22))), u16(28), u32(30)
		if h.height < 0 {
			h.height, h.topDown = -h.height, true
		}
		used = int(min(u32(46), 256))
	default:
		return h, errBMP
	}
	after := bmpFileHeader + int(size)
	fields := h.compression == bmpFields || h.compression == bmpFieldsAll
	switch {
	case h.depth == 16:
		h.masks = [4]uint32{0x7c00, 0x3e0, 0x1f}
	case h.depth == 32:
		h.masks = [4]uint32{0xff0000, 0xff00, 0xff}
	}
	if fields {
		const masks = 54
		count := 3
		if size > bmpInfoHeader+12 || h.compression == bmpFieldsAll {
			count = 4
		}
		if len(data) < masks+4*count {
			return h, errBMP
		}
		for i := range count {
			h.masks[i] = u32(masks + 4*i)
		}
		after = max(after, masks+4*count)
	}
	if h.depth <= 8 && h.depth > 0 {
		if used == 0 {
			used = 1 << h.depth
		}
		h.palette = make(color.Palette, 1<<h.depth)
		for i := range h.palette {
			c := color.NRGBA{A: 255}
			if at := after + i*entry; i < used && at+3 <= len(data) {
				c.R, c.G, c.B = data[at+2], data[at+1], data[at]
			}
			h.palette[i] = c
		}
	}
	if at := u32(10); uint64(at) <= uint64(len(data)) {
		h.pixels = data[at:]
	}
	return h, h.check()
}

// check returns an unsupported error for what is not read.
func (h bmpHeader) check() error {
	plain := h.compression == bmpRGB
	fields := h.compression == bmpFields || h.compression == bmpFieldsAll
	switch h.depth {
	case 1, 2, 4:
		plain = plain || h.depth == 4 && h.compression == bmpRLE4
	case 8:
		plain = plain || h.compression == bmpRLE8
	case 24:
	case 16, 32:
		plain = plain || fields
	default:
		plain = false
	}
	if !plain {
		return unsupported(fmt.Sprintf("%d bits a pixel in compression %d", h.depth, h.compression))
	}
	return nil
}

func decodeBMP(data []byte) (image.Image, error) {
	h, err := readBMPHeader(data)
	if err != nil {
		return nil, err
	}
	if h.compression == bmpRLE8 || h.compression == bmpRLE4 {
		return h.decodeRuns()
	}
	stride := (h.width*h.depth + 31) / 32 * 4
	if len(h.pixels) < stride*h.height {
		return nil, errBMP
	}
	if h.depth <= 8 {
		return h.decodePalette(stride), nil
	}
	out := image.NewNRGBA(image.Rect(0, 0, h.width, h.height))
	for y := range h.height {
		in := h.pixels[y*stride : (y+1)*stride]
		row := out.Pix[h.line(y)*out.Stride:][:out.Stride]
		if h.depth == 24 {
			for x := range h.width {
				row[4*x], row[4*x+1], row[4*x+2], row[4*x+3] = in[3*x+2], in[3*x+1], in[3*x], 255
			}
			continue
		}
		h.decodeFields(row, in)
	}
	if h.depth != 24 {
		showInvisible(out.Pix)
	}
	return out, nil
}

// line is where the yth row of the file is in the picture.
func (h bmpHeader) line(y int) int {
	if h.topDown {
		return y
	}
	return h.height - 1 - y
}

func (h bmpHeader) decodePalette(stride int) *image.Paletted {
	out := image.NewPaletted(image.Rect(0, 0, h.width, h.height), h.palette)
	each, mask := 8/h.depth, byte(1<<h.depth-1)
	for y := range h.height {
		in, row := h.pixels[y*stride:], out.Pix[h.line(y)*out.Stride:][:h.width]
		for x := range row {
			row[x] = in[x/each] >> ((each - 1 - x%each) * h.depth) & mask
		}
	}
	return out
}

// decodeFields reads a row of 16 or 32 bits a pixel by its masks.
func (h bmpHeader) decodeFields(row, in []byte) {
	var shift [4]int
	var most [4]uint32
	for i, mask := range h.masks {
		shift[i] = bits.TrailingZeros32(mask)
		most[i] = mask >> (shift[i] & 31)
	}
	for x := range h.width {
		value := uint32(binary.LittleEndian.Uint16(in[x*h.depth/8:]))
		if h.depth == 32 {
			value = binary.LittleEndian.Uint32(in[4*x:])
		}
		for i, mask := range h.masks {
			switch {
			case mask != 0:
				row[4*x+i] = uint8(uint64(value&mask>>(shift[i]&31)) * 255 / uint64(most[i]))
			case i == 3:
				row[4*x+i] = 255
			}
		}
	}
}

// showInvisible makes a picture opaque of which nothing is to be seen: programs leave the transparency of a BMP zero.
func showInvisible(pix []byte) {
	for i := 3; i < len(pix); i += 4 {
		if pix[i] != 0 {
			return
		}
	}
	for i := 3; i < len(pix); i += 4 {
		pix[i] = 255
	}
}

// decodeRuns reads runs of indices: a count and a value, or 0 and an escape (0 end of line, 1 end, 2 move, else that many
// values as they are, to an even number of bytes). Two values of 4 bits are in a byte.
func (h bmpHeader) decodeRuns() (image.Image, error) {
	out := image.NewPaletted(image.Rect(0, 0, h.width, h.height), h.palette)
	x, y := 0, 0
	put := func(value byte, i int) {
		if h.depth == 4 {
			value = value >> (4 * (1 - i%2)) & 15
		}
		if x < h.width && y < h.height {
			out.Pix[h.line(y)*out.Stride+x] = value
			x++
		}
	}
	for in := h.pixels; len(in) >= 2 && y < h.height; {
		count, value := int(in[0]), in[1]
		in = in[2:]
		switch {
		case count > 0:
			for i := range count {
				put(value, i)
			}
		case value == 0:
			x, y = 0, y+1
		case value == 1:
			return out, nil
		case value == 2:
			if len(in) < 2 {
				return nil, errBMP
			}
			x, y, in = x+int(in[0]), y+int(in[1]), in[2:]
		default:
			size := int(value)
			if h.depth == 4 {
				size = (size + 1) / 2
			}
			if len(in) < size+size%2 {
				return nil, errBMP
			}
			for i := range int(value) {
				put(in[i*h.depth/8], i)
			}
			in = in[size+size%2:]
		}
	}
	if y < h.height-1 {
		return nil, errBMP
	}
	return out, nil
}
