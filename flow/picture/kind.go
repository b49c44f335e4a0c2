package picture

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Kind is a kind of picture files.
type Kind string

// The kinds that are read.
const (
	JPEG Kind = "JPEG"
	PNG  Kind = "PNG"
	BMP  Kind = "BMP"
	WebP Kind = "WebP"
	TIFF Kind = "TIFF"
	GIF  Kind = "GIF"
)

// HeadSize is how many of a file's first bytes tell its kind.
const HeadSize = 64

// KindOf tells a file's kind by its first [HeadSize] bytes. [ErrKind] is returned when it is one that is not read, [ErrBroken]
// when the bytes begin no picture.
func KindOf(head []byte) (Kind, error) { return kindOf(head) }

// beginnings are how files of a kind begin.
var beginnings = []struct {
	begin string
	kind  Kind
}{
	{"\xff\xd8\xff", JPEG},
	{"\x89PNG\r\n\x1a\n", PNG},
	{"GIF87a", GIF},
	{"GIF89a", GIF},
	{"II*\x00", TIFF},
	{"MM\x00*", TIFF},
	{"BM", BMP},
}

// refused are how files begin that are pictures, and not read.
var refused = []struct{ begin, kind string }{
	{"\xff\x0a", "JPEG XL"},
	{"\x00\x00\x00\x0cJXL ", "JPEG XL"},
	{"\x00\x00\x00\x0cjP  ", "JPEG 2000"},
	{"\xff\x4f\xff\x51", "JPEG 2000"},
	{"II\xbc\x01", "JPEG XR"},
	{"8BPS", "PSD"},
	{"II+\x00", "BigTIFF"},
	{"MM\x00+", "BigTIFF"},
	{"IIRO", "RAW"}, // Olympus
	{"IIRS", "RAW"},
	{"MMOR", "RAW"},
	{"IIU\x00", "RAW"}, // Panasonic
	{"FUJIFILMCCD-RAW", "RAW"},
	{"II*\x00\x10\x00\x00\x00CR", "RAW"}, // Canon's CR2
	{"%PDF", "PDF"},
	{"v/1\x01", "OpenEXR"},
	{"#?RADIANCE", "Radiance HDR"},
}

func kindOf(data []byte) (Kind, error) {
	for _, r := range refused {
		if bytes.HasPrefix(data, []byte(r.begin)) {
			return "", refuse(r.kind)
		}
	}
	if len(data) >= 12 && string(data[:4]) == "RIFF" && string(data[8:12]) == "WEBP" {
		return WebP, nil
	}
	if len(data) >= 12 && string(data[4:8]) == "ftyp" {
		if kind := isoKind(data); kind != "" {
			return "", refuse(kind)
		}
		return "", fmt.Errorf("%w: a film", ErrBroken)
	}
	for _, b := range beginnings {
		if bytes.HasPrefix(data, []byte(b.begin)) {
			return b.kind, nil
		}
	}
	return "", fmt.Errorf("%w: begins like no JPEG, PNG, BMP, WebP, TIFF or GIF", ErrBroken)
}

func refuse(kind string) error { return fmt.Errorf("%w: %s: convert it to JPEG", ErrKind, kind) }

// isoKind tells by their brands what files are that begin with an ISO file type box (ISO/IEC 14496-12, 4.3); empty: films.
func isoKind(data []byte) string {
	size := min(len(data), int(data[3]), HeadSize) // of a box of at most 255 bytes: others are films'
	brands := []string{string(data[8:12])}
	for at := 16; data[0]|data[1]|data[2] == 0 && at+4 <= size; at += 4 {
		brands = append(brands, string(data[at:at+4]))
	}
	has := func(brand ...string) bool {
		return slices.ContainsFunc(brands, func(b string) bool { return slices.Contains(brand, b) })
	}
	switch {
	case strings.HasPrefix(brands[0], "crx"):
		return "RAW"
	case has("avif", "avis"):
		return "AVIF"
	case has("heic", "heix", "heim", "heis", "hevc", "hevx", "hevm", "hevs", "mif1", "msf1"):
		return "HEIC"
	}
	return ""
}
