package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"iter"
	"slices"

	"golang.org/x/image/webp"
)

var errWebP = errors.New("a chunk that is damaged or missing")

// webpChunks are the chunks of RIFF data, up to the first that is cut short.
func webpChunks(data []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for len(data) >= 8 {
			size := binary.LittleEndian.Uint32(data[4:])
			if uint64(size) > uint64(len(data)-8) || !yield(string(data[:4]), data[8:8+size]) {
				return
			}
			data = data[min(uint64(len(data)), 8+uint64(size)+uint64(size&1)):]
		}
	}
}

func webpChunk(data []byte, name string) (content []byte, ok bool) {
	for chunk, content := range webpChunks(data) {
		if chunk == name {
			return content, true
		}
	}
	return nil, false
}

const riffHeader = 12 // bytes: RIFF, length, WEBP

func webpEXIF(data []byte) []byte {
	exif, _ := webpChunk(data[riffHeader:], "EXIF")
	return bytes.TrimPrefix(exif, []byte(exifPrefix))
}

// uint24 is a number of 24 bits.
func uint24(data []byte) int { return int(data[0]) | int(data[1])<<8 | int(data[2])<<16 }

// webpConfig follows https://developers.google.com/speed/webp/docs/riff_container.
func webpConfig(data []byte) (image.Config, error) {
	for name, chunk := range webpChunks(data[riffHeader:]) {
		if name == "VP8X" && len(chunk) >= 10 {
			return image.Config{Width: uint24(chunk[4:]) + 1, Height: uint24(chunk[7:]) + 1}, nil
		}
		break
	}
	return webp.DecodeConfig(bytes.NewReader(data))
}

// decodeWebP decodes the picture, of an animation the first one.
func decodeWebP(data []byte) (image.Image, error) {
	frame, ok := webpChunk(data[riffHeader:], "ANMF")
	if !ok {
		return decodeStillWebP(data)
	}
	const header = 16
	if len(frame) < header {
		return nil, errWebP
	}
	canvas, err := webpConfig(data)
	if err != nil {
		return nil, err
	}
	whole := image.Rect(0, 0, canvas.Width, canvas.Height)
	at := image.Pt(2*uint24(frame), 2*uint24(frame[3:]))
	part := image.Rectangle{at, at.Add(image.Pt(uint24(frame[6:])+1, uint24(frame[9:])+1))}
	if !part.In(whole) {
		return nil, errWebP
	}
	img, err := decodeStillWebP(stillWebP(frame[6:12], frame[header:]))
	if err != nil {
		return nil, err
	}
	if part == whole {
		return img, nil
	}
	return placed{moved{img, at}, whole}, nil
}

// stillWebP is a file of one frame of an animation. size is as the extended header has it.
func stillWebP(size, chunks []byte) []byte {
	const (
		extended = "VP8X\x0a\x00\x00\x00"
		alpha    = 0x10
	)
	head := []byte("RIFF\x00\x00\x00\x00WEBP" + extended)
	flags := byte(0)
	if _, ok := webpChunk(chunks, "ALPH"); ok {
		flags = alpha
	}
	file := slices.Concat(head, []byte{flags, 0, 0, 0}, size, chunks)
	binary.LittleEndian.PutUint32(file[4:], uint32(len(file)-8))
	return file
}

func decodeStillWebP(data []byte) (image.Image, error) {
	img, err := webp.Decode(bytes.NewReader(data))
	switch img := img.(type) {
	case *image.YCbCr:
		return videoRange{img, nil}, err
	case *image.NYCbCrA:
		return videoRange{&img.YCbCr, img}, err
	}
	return img, err
}

// videoRange is a lossy WebP's picture. Its luma is 16 to 235 and its chroma 16 to 240 (RFC 6386, 9.2; ITU-R BT.601), where
// [image.YCbCr] takes 0 to 255.
type videoRange struct {
	*image.YCbCr
	alpha *image.NYCbCrA // nil: opaque
}

func (v videoRange) ColorModel() color.Model { return color.NRGBAModel }

func (v videoRange) At(x, y int) color.Color { return v.at(x, y) }

func (v videoRange) at(x, y int) color.NRGBA {
	// In 1/2¹⁶: 255/219, and 255/224 times BT.601's 1.402, 0.344136, 0.714136 and 1.772.
	const (
		luma  = 76309
		red   = 104597
		green = 25675
		less  = 53279
		blue  = 132201
		half  = 1 << 15
	)
	c := v.COffset(x, y)
	cb, cr := int32(v.Cb[c])-128, int32(v.Cr[c])-128
	l := (int32(v.Y[v.YOffset(x, y)])-16)*luma + half
	clip := func(value int32) uint8 { return uint8(min(max(value>>16, 0), 255)) }
	out := color.NRGBA{clip(l + red*cr), clip(l - green*cb - less*cr), clip(l + blue*cb), 255}
	if v.alpha != nil {
		out.A = v.alpha.A[v.alpha.AOffset(x, y)]
	}
	return out
}

// moved is a picture at another place.
type moved struct {
	image.Image
	by image.Point
}

func (m moved) Bounds() image.Rectangle { return m.Image.Bounds().Add(m.by) }

func (m moved) At(x, y int) color.Color { return m.Image.At(x-m.by.X, y-m.by.Y) }
