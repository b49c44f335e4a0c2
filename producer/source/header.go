package source

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image/jpeg"
)

type format int

const (
	formatJPEG format = iota + 1
	formatPNG
	formatBMP
	formatWebP
)

// header is what the first bytes of a picture file say.
type header struct {
	format        format
	width, height int // pixels
}

// readHeader goes by the bytes, whatever the file is called. [errBroken] is returned when they begin no picture.
func readHeader(data []byte) (header, error) {
	switch {
	case bytes.HasPrefix(data, []byte("\xff\xd8\xff")):
		config, err := jpeg.DecodeConfig(bytes.NewReader(data))
		if err != nil {
			return header{}, fmt.Errorf("%w: JPEG header: %w", errBroken, err)
		}
		return header{formatJPEG, config.Width, config.Height}, nil
	// Its first chunk must be IHDR (ISO/IEC 15948, 5.6); libpng takes others before it, with sizes of their own.
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")) && len(data) >= 24 && string(data[12:16]) == "IHDR":
		return header{formatPNG, int(binary.BigEndian.Uint32(data[16:])), int(binary.BigEndian.Uint32(data[20:]))}, nil
	case bytes.HasPrefix(data, []byte("BM")) && len(data) >= 26:
		return bmpHeader(data), nil
	case bytes.HasPrefix(data, []byte("RIFF")) && len(data) >= 30 && string(data[8:12]) == "WEBP":
		return webpHeader(data)
	}
	return header{}, fmt.Errorf("%w: begins like no JPEG, PNG, BMP or WebP", errBroken)
}

func bmpHeader(data []byte) header {
	if binary.LittleEndian.Uint32(data[14:]) == 12 { // OS/2's header, with sizes of 16 bits
		return header{formatBMP, int(binary.LittleEndian.Uint16(data[18:])), int(binary.LittleEndian.Uint16(data[20:]))}
	}
	height := int(int32(binary.LittleEndian.Uint32(data[22:])))
	return header{formatBMP, int(int32(binary.LittleEndian.Uint32(data[18:]))), max(height, -height)} // negative: rows from the top
}

// webpHeader follows https://developers.google.com/speed/webp/docs/riff_container.
func webpHeader(data []byte) (header, error) {
	switch string(data[12:16]) {
	case "VP8 ": // after the frame tag (3 bytes) and the start code (3)
		const mask = 1<<14 - 1 // the upper two bits are a scale
		return header{formatWebP, int(binary.LittleEndian.Uint16(data[26:])) & mask, int(binary.LittleEndian.Uint16(data[28:])) & mask}, nil
	case "VP8L": // after the signature byte: 14 bits each, less 1
		bits := binary.LittleEndian.Uint32(data[21:])
		return header{formatWebP, int(bits&(1<<14-1)) + 1, int(bits>>14&(1<<14-1)) + 1}, nil
	case "VP8X": // 24 bits each, less 1
		width := int(data[24]) | int(data[25])<<8 | int(data[26])<<16
		height := int(data[27]) | int(data[28])<<8 | int(data[29])<<16
		return header{formatWebP, width + 1, height + 1}, nil
	}
	return header{}, fmt.Errorf("%w: WebP chunk %q", errBroken, data[12:16])
}
