package predict

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/jpeg"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// stripRows is how many rows of a picture one core works on at a time: a multiple of a coding unit's 16. A strip is one
// restart interval, 16 bits of coding units, of 8×8 pixels at least: of the widest picture it has 49,152.
const stripRows = 48

// encode makes a JPEG on all cores. The picture's strips are encoded each by itself and joined by restart markers (ITU-T
// T.81, B.2.1 and F.1.1.5.1): after one, the coding of DC coefficients begins anew, as at the beginning of a scan.
func encode(img image.Image) ([]byte, error) {
	bounds := img.Bounds()
	whole, ok := img.(interface {
		SubImage(image.Rectangle) image.Image
	})
	switch {
	case !ok:
		return encodeStrip(img)
	case bounds.Dy() <= stripRows:
		return encodeStrip(whole.SubImage(bounds))
	}
	strips := make([][]byte, (bounds.Dy()+stripRows-1)/stripRows)
	err := inStrips(bounds.Dy(), func(top, bottom int) (err error) {
		strip := image.Rect(bounds.Min.X, bounds.Min.Y+top, bounds.Max.X, bounds.Min.Y+bottom)
		strips[top/stripRows], err = encodeStrip(whole.SubImage(strip))
		return err
	})
	if err != nil {
		return nil, err
	}
	return joinStrips(strips, bounds.Dy())
}

// inStrips works on height rows, stripRows at a time, on all cores.
func inStrips(height int, work func(top, bottom int) error) error {
	var strips errgroup.Group
	strips.SetLimit(runtime.GOMAXPROCS(0))
	for top := 0; top < height; top += stripRows {
		strips.Go(func() error { return work(top, min(top+stripRows, height)) })
	}
	return strips.Wait()
}

func encodeStrip(img image.Image) ([]byte, error) {
	var out bytes.Buffer
	if err := jpeg.Encode(&out, img, &jpeg.Options{Quality: resentQuality}); err != nil {
		return nil, fmt.Errorf("encode picture: %w", err)
	}
	return out.Bytes(), nil
}

// JPEG's markers, ITU-T T.81, table B.1.
const (
	markerSOF0 = 0xc0 // start of frame: length, precision, height, width, components, then id and sampling of the first
	markerDHT  = 0xc4 // Huffman tables
	markerRST0 = 0xd0 // restart, to 0xd7
	markerEOI  = 0xd9 // end of image
	markerSOS  = 0xda // start of scan: its data follow
	markerDQT  = 0xdb // tables of quantisation
	markerDRI  = 0xdd // restart interval
	endOfImage = 2    // bytes of it
)

// joinStrips makes one JPEG of height rows of strips, which have stripRows each, and the last one what is left.
func joinStrips(strips [][]byte, height int) ([]byte, error) {
	size := 0
	for _, strip := range strips {
		size += len(strip)
	}
	out := make([]byte, 0, size+16)
	for i, strip := range strips {
		scan, frame, err := segments(strip)
		if err != nil {
			return nil, err
		}
		data := scan + 2 + int(binary.BigEndian.Uint16(strip[scan+2:]))
		if i == 0 {
			binary.BigEndian.PutUint16(strip[frame+5:], uint16(height))
			width, unit := int(binary.BigEndian.Uint16(strip[frame+7:])), 8
			if strip[frame+9] > 1 { // colours: the first component's sampling tells, 2 × 2 here
				unit *= int(strip[frame+11] >> 4)
			}
			out = append(out, strip[:scan]...)
			out = append(out, 0xff, markerDRI, 0, 4)
			out = binary.BigEndian.AppendUint16(out, uint16((width+unit-1)/unit*(stripRows/unit)))
			out = append(out, strip[scan:data]...)
		} else {
			out = append(out, 0xff, markerRST0+byte((i-1)%8))
		}
		out = append(out, strip[data:len(strip)-endOfImage]...)
	}
	return append(out, 0xff, markerEOI), nil
}

// segments says where a JPEG's start of scan and start of frame are.
func segments(data []byte) (scan, frame int, err error) {
	for at := 2; at+4 <= len(data) && data[at] == 0xff; at += 2 + int(binary.BigEndian.Uint16(data[at+2:])) {
		switch data[at+1] {
		case markerSOF0:
			frame = at
		case markerSOS:
			return at, frame, nil
		}
	}
	return 0, 0, fmt.Errorf("encode picture: %d bytes without a start of scan", len(data))
}
