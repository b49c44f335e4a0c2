package flow

import (
	"bytes"
	"encoding/binary"
)

// Orientation is how a JPEG's EXIF data says to turn it: 2 to 8, or 1 (as it is) when they say nothing that can
// be understood. It reads no segment twice and nothing beyond data.
func Orientation(data []byte) int {
	rest, ok := bytes.CutPrefix(data, []byte{0xff, 0xd8})
	if !ok {
		return 1
	}
	for len(rest) >= 4 && rest[0] == 0xff {
		marker := rest[1]
		if marker == 0xff { // a fill byte
			rest = rest[1:]
			continue
		}
		if marker == 0xda || marker == 0xd9 { // the pixels, or the end
			return 1
		}
		if marker == 0x01 || marker >= 0xd0 && marker <= 0xd7 { // these have no length
			rest = rest[2:]
			continue
		}
		size := int(binary.BigEndian.Uint16(rest[2:]))
		if size < 2 || 2+size > len(rest) {
			return 1
		}
		if tiff, ok := bytes.CutPrefix(rest[4:2+size], []byte("Exif\x00\x00")); ok && marker == 0xe1 {
			return tiffOrientation(tiff)
		}
		rest = rest[2+size:]
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
		short     = 3
	)
	for range order.Uint16(tiff[offset:]) {
		if len(entries) < entrySize {
			return 1
		}
		if order.Uint16(entries) == tag {
			value := int(order.Uint16(entries[8:]))
			if order.Uint16(entries[2:]) != short || order.Uint32(entries[4:]) != 1 || value < 1 || value > 8 {
				return 1
			}
			return value
		}
		entries = entries[entrySize:]
	}
	return 1
}
