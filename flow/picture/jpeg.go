package picture

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"iter"
)

// A JPEG's markers: ITU-T T.81, table B.1. A frame header's is 0xc0 to 0xcf, but for three.
const (
	markerTables = 0xc4 // DHT
	markerJPG    = 0xc8
	markerCoding = 0xcc // DAC
	markerRST0   = 0xd0 // to 0xd7, and then SOI
	markerSOI    = 0xd8
	markerEOI    = 0xd9
	markerSOS    = 0xda
	markerAPP1   = 0xe1
	markerAPP14  = 0xee
	markerTEM    = 0x01
)

// Bounds of a JPEG's scans: each goes over all pixels, however few bytes it has. Progressive ones have some ten of them.
const (
	maxScans   = 200
	maxScanned = 1 << 30 // scans × pixels
)

// CheckJPEG returns [ErrJPEG] when a JPEG's data end before its end marker does, where decoders would make up what is
// missing, or when it has so many scans that decoding it would take much longer than a picture of its size does. It does
// not decode anything.
func CheckJPEG(data []byte) error {
	width, height, scans, ended := 0, 0, 0, false
	for marker, content := range jpegSegments(data) {
		switch {
		case isFrame(marker) && len(content) >= 5:
			height, width = int(binary.BigEndian.Uint16(content[1:])), int(binary.BigEndian.Uint16(content[3:]))
		case marker == markerSOS:
			scans++
		case marker == markerEOI:
			ended = true
		}
		if scans > maxScans || scans*width*height > maxScanned {
			return fmt.Errorf("%w: %dx%d in %d or more scans, want at most %d of at most %d pixels in all", ErrJPEG, width, height, scans, maxScans, maxScanned)
		}
	}
	if !ended || scans == 0 {
		return fmt.Errorf("%w: %dx%d is cut short", ErrJPEG, width, height)
	}
	return nil
}

// isFrame says whether a marker is that of a frame header.
func isFrame(marker byte) bool {
	return marker >= 0xc0 && marker <= 0xcf && marker != markerTables && marker != markerJPG && marker != markerCoding
}

// jpegCoefficients are the bytes that the coefficients of a JPEG of several scans take, two each; none of one scan, which is
// decoded as it comes.
func jpegCoefficients(data []byte) (bytes int) {
	scans := 0
	for marker, content := range jpegSegments(data) {
		switch {
		case isFrame(marker) && len(content) >= 6 && len(content) >= 6+3*int(content[5]):
			height, width := int(binary.BigEndian.Uint16(content[1:])), int(binary.BigEndian.Uint16(content[3:]))
			whole, parts := 1, 0 // samples of a colour of full size, and of all colours, where each counts by its sampling factors
			for c := range int(content[5]) {
				factors := content[7+3*c]
				whole = max(whole, int(factors>>4)*int(factors&15))
				parts += int(factors>>4) * int(factors&15)
			}
			bytes = 2 * width * height * parts / whole
		case marker == markerSOS:
			if scans++; scans > 1 {
				return bytes
			}
		}
	}
	return 0
}

// jpegSegments are a JPEG's segments, their markers with what follows the length, up to the end marker, or to where data
// end. Pixels and what else is no segment are passed over, as libjpeg does.
func jpegSegments(data []byte) iter.Seq2[byte, []byte] {
	return func(yield func(byte, []byte) bool) {
		for i := 2; i < len(data); {
			next := bytes.IndexByte(data[i:], 0xff)
			if next < 0 {
				return
			}
			for i += next; i < len(data) && data[i] == 0xff; i++ {
			}
			if i == len(data) {
				return
			}
			marker := data[i]
			i++
			switch {
			case marker == 0, marker == markerTEM, marker >= markerRST0 && marker <= markerSOI: // these have no length
				continue
			case marker == markerEOI:
				yield(marker, nil)
				return
			case i+2 > len(data):
				return
			}
			size := int(binary.BigEndian.Uint16(data[i:]))
			if size < 2 || i+size > len(data) || !yield(marker, data[i+2:i+size]) {
				return
			}
			i += size
		}
	}
}

// jpegEXIF are a JPEG's EXIF data; none when it has none.
func jpegEXIF(data []byte) []byte {
	for marker, content := range jpegSegments(data) {
		if marker == markerSOS {
			return nil
		}
		if tiff, ok := bytes.CutPrefix(content, []byte(exifPrefix)); ok && marker == markerAPP1 {
			return tiff
		}
	}
	return nil
}

// hasAdobe says whether a JPEG has Adobe's segment, which is where inks are stored inverted.
func hasAdobe(data []byte) bool {
	for marker, content := range jpegSegments(data) {
		if marker == markerSOS {
			return false
		}
		if marker == markerAPP14 && bytes.HasPrefix(content, []byte("Adobe")) && len(content) >= 12 {
			return true
		}
	}
	return false
}

// decodeJPEG also takes inks without Adobe's segment, which image/jpeg does not: they are stored as they are.
func decodeJPEG(data []byte, inks bool) (image.Image, error) {
	if !inks || hasAdobe(data) {
		return jpeg.Decode(bytes.NewReader(data))
	}
	adobe := []byte("\xff\xd8\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00") // its last byte: no transform of colours
	img, err := jpeg.Decode(io.MultiReader(bytes.NewReader(adobe), bytes.NewReader(data[2:])))
	if cmyk, ok := img.(*image.CMYK); ok {
		for i, ink := range cmyk.Pix {
			cmyk.Pix[i] = 255 - ink
		}
	}
	return img, err
}
