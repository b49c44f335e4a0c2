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

// sof is a JPEG that claims a size: its frame header, so many empty scans, its end. sampling is that of its colours.
func sof(marker byte, width, height, scans int, sampling ...byte) []byte {
	content := []byte{8, byte(height >> 8), byte(height), byte(width >> 8), byte(width), byte(len(sampling))}
	for i, factors := range sampling {
		content = append(content, byte(i+1), factors, 0)
	}
	out := []byte("\xff\xd8\xff")
	out = append(out, marker)
	out = binary.BigEndian.AppendUint16(out, uint16(len(content)+2))
	out = append(out, content...)
	for range scans {
		out = append(out, "\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"...)
	}
	return append(out, "\xff\xd9"...)
}

// pngHeader is a PNG of that size without any pixels.
func pngHeader(width, height uint32) []byte {
	head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, width), height)
	return append([]byte("\x89PNG\r\n\x1a\n"), pngChunk("IHDR", append(head, 8, 2, 0, 0, 0))...)
}

func TestReduction(t *testing.T) {
	t.Parallel()
	const baseline, progressive, full, quarter = 0xc0, 0xc2, 0x11, 0x22
	for name, test := range map[string]struct {
		data []byte
		by   int
		says string // of the error
	}{
		"just the bound":                  {sof(baseline, 5000, 5000, 1, quarter, full, full), 1, ""},
		"a row more":                      {sof(baseline, 5000, 5001, 1, quarter, full, full), 2, ""},
		"8192x8192":                       {sof(baseline, 8192, 8192, 1, quarter, full, full), 2, ""},
		"grey":                            {sof(baseline, 8192, 8192, 1, full), 2, ""},
		"progressive, within":             {sof(progressive, 5000, 5000, 5, full, full, full), 1, ""},
		"progressive, colours of a half":  {sof(progressive, 8000, 6000, 5, quarter, full, full), 2, ""},
		"progressive, colours as large":   {sof(progressive, 5000, 5001, 5, full, full, full), 0, "progressive JPEG of 5000x5001, 25.0 million pixels"},
		"progressive, much larger":        {sof(progressive, 8192, 8192, 5, quarter, full, full), 0, "67.1 million pixels, where at most 25.0"},
		"baseline in several scans":       {sof(baseline, 8192, 8192, 3, quarter, full, full), 0, "baseline JPEG"},
		"a PNG within the bound":          {pngHeader(5000, 5000), 1, ""},
		"a PNG that is larger":            {pngHeader(5000, 5001), 0, "PNG of 5000x5001"},
		"inks":                            {sof(baseline, 5000, 5001, 1, full, full, full, full), 0, "JPEG of 5000x5001"},
		"progressive, of a single colour": {sof(progressive, 8192, 8192, 5, full), 2, ""},
	} {
		file, err := picture.Open(test.data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		by, err := file.Reduction(picture.DefaultMaxPixels)
		if test.says == "" && (err != nil || by != test.by) {
			t.Errorf("%s: %d, %v; want %d", name, by, err, test.by)
		}
		if test.says != "" && (!errors.Is(err, picture.ErrLarge) || !strings.Contains(err.Error(), test.says)) {
			t.Errorf("%s: %v, want ErrLarge that says %q", name, err, test.says)
		}
		if fits := file.Fits(picture.DefaultMaxPixels); (fits == nil) != (by == 1 && err == nil) {
			t.Errorf("%s: as it is: %v", name, fits)
		}
	}
}

// However small the bound is, eight times is the most.
func TestReductionOfWhatStaysTooLarge(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := jpeg.Encode(&out, image.NewGray(image.Rect(0, 0, 81, 80)), nil); err != nil {
		t.Fatal(err)
	}
	file, err := picture.Open(out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if by, err := file.Reduction(110); by != 8 || err != nil {
		t.Errorf("81x80 within 110: %d, %v; want 11x10", by, err)
	}
	if _, err := file.Reduction(109); !errors.Is(err, picture.ErrLarge) {
		t.Errorf("81x80 within 109: %v, want ErrLarge", err)
	}
}
