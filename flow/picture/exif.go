package picture

import (
	"bytes"
	"encoding/binary"
)

// exifPrefix is before EXIF data in a JPEG; some programs write it elsewhere too.
const exifPrefix = "Exif\x00\x00"

// tiffOrientation is how EXIF data (or a TIFF) say to turn the picture (Exif 2.32, 4.6.4, tag 0x0112): 2 to 8, or 1 (as it
// is) when they say nothing that can be understood.
func tiffOrientation(tiff []byte) int {
	const tag = 0x0112
	if value, ok := tiffTag(tiff, tag); ok && value >= 1 && value <= 8 {
		return value
	}
	return 1
}

// tiffTag is a number of 16 bits, the first of its tag. It looks in the first directory only: where the picture's own tags are.
func tiffTag(tiff []byte, tag uint16) (value int, ok bool) {
	if len(tiff) < 8 {
		return 0, false
	}
	var order binary.ByteOrder
	switch string(tiff[:4]) {
	case "II*\x00":
		order = binary.LittleEndian
	case "MM\x00*":
		order = binary.BigEndian
	default:
		return 0, false
	}
	offset := order.Uint32(tiff[4:])
	if uint64(offset)+2 > uint64(len(tiff)) {
		return 0, false
	}
	entries := tiff[offset+2:]
	const (
		entrySize = 12 // tag, type, count, value
		long      = 4  // type of 32 bits
	)
	for range order.Uint16(tiff[offset:]) {
		if len(entries) < entrySize {
			return 0, false
		}
		if order.Uint16(entries) == tag {
			// Whatever type it has: decoders that turn by it (OpenCV 4.6, modules/imgcodecs/src/exif.cpp) don't ask.
			if v := order.Uint32(entries[8:]); order.Uint16(entries[2:]) == long && v < 1<<16 {
				return int(v), true
			}
			return int(order.Uint16(entries[8:])), true
		}
		entries = entries[entrySize:]
	}
	return 0, false
}

// pngEXIF is what a PNG's eXIf chunk holds, wherever it is (PNG, third edition, 11.3.4.5).
func pngEXIF(data []byte) []byte {
	const around = 12 // length, type and checksum
	for rest := data[min(len(data), 8):]; len(rest) >= around; {
		size := binary.BigEndian.Uint32(rest)
		if uint64(size) > uint64(len(rest)-around) {
			return nil
		}
		if string(rest[4:8]) == "eXIf" {
			return bytes.TrimPrefix(rest[8:8+size], []byte(exifPrefix))
		}
		rest = rest[around+size:]
	}
	return nil
}

// checkTIFF returns an unsupported error for TIFFs that would be decoded into something else than their picture.
func checkTIFF(data []byte) error {
	const (
		subfileType     = 254
		samplesPerPixel = 277
		planar          = 284
		dngVersion      = 50706
	)
	_, dng := tiffTag(data, dngVersion)
	if kind, _ := tiffTag(data, subfileType); dng || kind&1 != 0 { // the first picture is a reduced one: a camera's raw data follow
		return unsupported("a camera's raw data")
	}
	if p, _ := tiffTag(data, planar); p == 2 {
		if n, _ := tiffTag(data, samplesPerPixel); n > 1 {
			return unsupported("colours in planes of their own")
		}
	}
	return nil
}
