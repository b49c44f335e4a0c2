// Package still makes single pictures of what is seen, for readers without a canvas: a frame's picture with the boxes on it,
// and a depth map as a PNG.
package still

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"image/png"
	"sync"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gomedium"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/client/label"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/flow/picture"
)

const (
	mostPixels = 25 << 20 // of a picture that is drawn on: decoded it takes up to 16 bytes for each
	quality    = 90       // of the JPEG
)

// ErrLarge is returned when a picture is too large to be drawn on.
var ErrLarge = errors.New("picture too large to be drawn on")

// Boxes is a JPEG of the picture with the boxes and their labels on it. [ErrLarge], [picture.ErrKind] or [picture.ErrBroken]
// is returned when it can't be drawn on.
func Boxes(data []byte, detections []api.Detection) ([]byte, error) {
	file, err := picture.Open(data)
	if err != nil {
		return nil, err
	}
	if file.Width*file.Height > mostPixels {
		return nil, fmt.Errorf("%w: %dx%d, at most %d pixels", ErrLarge, file.Width, file.Height, mostPixels)
	}
	img, err := file.Decode()
	if err != nil {
		return nil, err
	}
	if err := drawOn(img, detections); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, img, &jpeg.Options{Quality: quality}); err != nil {
		return nil, fmt.Errorf("encode picture: %w", err)
	}
	return out.Bytes(), nil
}

func drawOn(img *image.RGBA, detections []api.Detection) error {
	size := img.Rect.Size()
	thick := max(1, size.X/480)
	for _, d := range detections {
		box := label.Bounds(d.Box, size)
		frame(img, box, thick+1, color.Black)
		frame(img, box, thick, label.Color(d.ClassID))
	}
	face, err := newFace(max(11, float64(size.X)/90))
	if err != nil {
		return err
	}
	defer face.Close()
	const pad = 3
	metrics := face.Metrics()
	ascent, height := metrics.Ascent.Ceil(), (metrics.Ascent + metrics.Descent).Ceil()
	measure := func(text string) image.Point {
		return image.Pt(font.MeasureString(face, text).Ceil()+2*pad, height+2)
	}
	for _, l := range label.Layout(detections, size, measure) {
		draw.Draw(img, l.Place, image.NewUniform(l.Color), image.Point{}, draw.Src)
		text := font.Drawer{Dst: img, Src: image.Black, Face: face, Dot: fixed.P(l.Place.Min.X+pad, l.Place.Min.Y+1+ascent)}
		text.DrawString(l.Text)
	}
	return nil
}

// frame draws the four sides of a box, thick pixels to either side of its edge.
func frame(img *image.RGBA, box image.Rectangle, thick int, c color.Color) {
	ink, outer, inner := image.NewUniform(c), box.Inset(-thick), box.Inset(thick)
	if inner.Empty() {
		inner = image.Rectangle{Min: inner.Min, Max: inner.Min}
	}
	for _, side := range [...]image.Rectangle{
		image.Rect(outer.Min.X, outer.Min.Y, outer.Max.X, min(box.Min.Y+thick, outer.Max.Y)),
		image.Rect(outer.Min.X, max(box.Max.Y-thick, outer.Min.Y), outer.Max.X, outer.Max.Y),
		image.Rect(outer.Min.X, outer.Min.Y, min(box.Min.X+thick, outer.Max.X), outer.Max.Y),
		image.Rect(max(box.Max.X-thick, outer.Min.X), outer.Min.Y, outer.Max.X, outer.Max.Y),
	} {
		draw.Draw(img, side, ink, image.Point{}, draw.Src)
	}
}

var typeface = sync.OnceValues(func() (*opentype.Font, error) { return opentype.Parse(gomedium.TTF) })

// newFace is the labels' letters, so many pixels high. It serves one goroutine.
func newFace(pixels float64) (font.Face, error) {
	parsed, err := typeface()
	if err != nil {
		return nil, fmt.Errorf("letters of labels: %w", err)
	}
	return opentype.NewFace(parsed, &opentype.FaceOptions{Size: pixels, DPI: 72, Hinting: font.HintingFull})
}

// Depth is a PNG of 16 bits a pixel, at the map's own size, and how its pixels are read: each stands for
// Offset + Scale × pixel. They span all 16 bits, so that something is seen.
func Depth(m *depthmap.Map) (data []byte, read depthmap.Map, err error) {
	var unpacker depthmap.Unpacker
	samples, err := unpacker.Unpack(m)
	if err != nil {
		return nil, read, err
	}
	shift := depthmap.MaxBits - m.Bits
	img := image.NewGray16(image.Rect(0, 0, m.Width, m.Height))
	for i, sample := range samples {
		sample <<= shift
		img.Pix[2*i], img.Pix[2*i+1] = byte(sample>>8), byte(sample)
	}
	var out bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestSpeed}
	if err := encoder.Encode(&out, img); err != nil {
		return nil, read, fmt.Errorf("encode depth map: %w", err)
	}
	read = *m
	read.Bits, read.Scale, read.Data = depthmap.MaxBits, m.Scale/float32(int(1)<<shift), nil
	return out.Bytes(), read, nil
}
