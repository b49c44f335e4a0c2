// Package picture judges picture files by their bytes, before they are decoded.
package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
)

// A JPEG's markers: ITU-T T.81, table B.1. A frame header's is 0xc0 to 0xcf, but for three.
// ErrJPEG is returned when a JPEG is not to be decoded.
var ErrJPEG = errors.New("bad JPEG")

const (
	markerTables = 0xc4 // DHT
	markerJPG    = 0xc8
	markerCoding = 0xcc // DAC
	markerRST0   = 0xd0 // to 0xd7, and then SOI
	markerSOI    = 0xd8
	markerEOI    = 0xd9
	markerSOS    = 0xda
	markerAPP1   = 0xe1
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
		case marker >= 0xc0 && marker <= 0xcf && marker != markerTables && marker != markerJPG && marker != markerCoding && len(content) >= 5:
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

// Orientation is how a JPEG's EXIF data say to turn it: 2 to 8, or 1 (as it is) when they say nothing that can be
// understood.
func Orientation(data []byte) int {
	if !bytes.HasPrefix(data, []byte{0xff, markerSOI}) {
		return 1
	}
	for marker, content := range jpegSegments(data) {
		if marker == markerSOS {
			return 1
		}
		if tiff, ok := bytes.CutPrefix(content, []byte("Exif\x00\x00")); ok && marker == markerAPP1 {
			return tiffOrientation(tiff)
		}
	}
	return 1
}

// tiffOrientation looks in the first directory only: where the picture's own tags are.
func tiffOrientation(tiff []byte) int {
	if len(tiff) < 8 {
		return 1
	}
	var order binary.ByteOrder
	switch string(tiff[:4]) {
	case "II*\x00":
		order = binary.LittleEndian
	case "MM\x00*":
		order = binary.BigEndian
	default:
		return 1
	}
	offset := order.Uint32(tiff[4:])
	if uint64(offset)+2 > uint64(len(tiff)) {
		return 1
	}
	entries := tiff[offset+2:]
	const (
		entrySize = 12 // tag, type, count, value
		tag       = 0x0112
	)
	for range order.Uint16(tiff[offset:]) {
		if len(entries) < entrySize {
			return 1
		}
		if order.Uint16(entries) == tag {
			// Whatever type it has: the decoders that turn by it (OpenCV 4.6, modules/imgcodecs/src/exif.cpp) don't ask.
			value := int(order.Uint16(entries[8:]))
			if value < 1 || value > 8 {
				return 1
			}
			return value
		}
		entries = entries[entrySize:]
	}
	return 1
}
