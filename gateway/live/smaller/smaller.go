// Package smaller makes pictures and depth maps smaller, for viewers that want them so or whose links are slow.
package smaller

import (
	"bytes"
	"image"
	"image/jpeg"

	"golang.org/x/image/draw"

	"github.com/spatial-flow/spatial-flow/flow/depthmap"
)

const (
	mostPixels = 25 << 20 // of a picture: beyond, it is too much to decode
	quality    = 75       // of the JPEG
)

// Widths are what pictures and maps are made, in pixels, the largest first.
var Widths = [...]int{1920, 1280, 960, 640, 480, 320, Least}

// Least is the smallest of [Widths].
const Least = 160

// Width is the largest of [Widths] that is at most so large, which is [Least] or more; 0 stays 0: as it is.
func Width(most int) int {
	for _, width := range Widths {
		if width <= most {
			return width
		}
	}
	return 0
}

// Maker bounds how many are made at once.
type Maker struct {
	turns chan struct{}
}

// New makes a Maker of so many at once.
func New(atOnce int) *Maker { return &Maker{make(chan struct{}, atOnce)} }

// Picture is a JPEG of the picture with that width. The picture itself is returned when it is not wider, or smaller in bytes, or has
// more than 25 Mi pixels, or can't be decoded. It waits for its turn.
func (m *Maker) Picture(picture []byte, width int) []byte {
	config, err := jpeg.DecodeConfig(bytes.NewReader(picture))
	if err != nil || config.Width <= width || config.Width*config.Height > mostPixels {
		return picture
	}
	m.turns <- struct{}{}
	defer func() { <-m.turns }()
	whole, err := jpeg.Decode(bytes.NewReader(picture))
	if err != nil {
		return picture
	}
	height := max((config.Height*width+config.Width/2)/config.Width, 1)
	small := image.NewRGBA(image.Rect(0, 0, width, height))
	draw.ApproxBiLinear.Scale(small, small.Bounds(), whole, whole.Bounds(), draw.Src, nil)
	var out bytes.Buffer
	if err := jpeg.Encode(&out, small, &jpeg.Options{Quality: quality}); err != nil || out.Len() >= len(picture) {
		return picture
	}
	return out.Bytes()
}

// Depth is a map of every k-th sample of each k-th row, with at most width columns. The map itself is returned when it is not wider,
// or can't be unpacked. It waits for its turn.
func (m *Maker) Depth(whole *depthmap.Map, width int) *depthmap.Map {
	if whole.Width <= width {
		return whole
	}
	m.turns <- struct{}{}
	defer func() { <-m.turns }()
	var unpacker depthmap.Unpacker
	samples, err := unpacker.Unpack(whole)
	if err != nil {
		return whole
	}
	step := (whole.Width + width - 1) / width
	columns, rows := (whole.Width+step-1)/step, (whole.Height+step-1)/step
	values := make([]float32, 0, columns*rows)
	for y := range rows {
		top := min(y*step+step/2, whole.Height-1) * whole.Width // the middle of what it stands for
		for x := range columns {
			values = append(values, whole.Value(samples[top+min(x*step+step/2, whole.Width-1)]))
		}
	}
	var packer depthmap.Packer
	small, err := packer.Pack(values, columns, rows, whole.Kind, whole.Bits)
	if err != nil {
		return whole
	}
	return small
}
