// Package drawing draws scenes into pictures and videos: the picture with its boxes, and the depth heat map beside it.
package drawing

import (
	"errors"
	"fmt"
	"image"
	"image/color"

	"gocv.io/x/gocv"

	"github.com/spatial-flow/spatial-flow/client/label"
	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
)

// ErrDraw is returned when something can't be drawn, or not be written where it should go.
var ErrDraw = errors.New("can't draw")

// Painter draws scenes, one after the other. Close frees its memory.
type Painter struct {
	unpacker depthmap.Unpacker
	picture  gocv.Mat // 8-bit BGR, as the canvas
	canvas   gocv.Mat // twice as wide
	levels   gocv.Mat // 0 (far) to 255 (near), at the map's size
	colours  gocv.Mat
	heat     gocv.Mat // at the picture's size; empty until there is a map
}

// NewPainter makes a painter.
func NewPainter() *Painter {
	return &Painter{picture: gocv.NewMat(), canvas: gocv.NewMat(), levels: gocv.NewMat(), colours: gocv.NewMat(), heat: gocv.NewMat()}
}

// Close frees the painter's memory, its last drawing with it.
func (p *Painter) Close() error {
	return errors.Join(p.picture.Close(), p.canvas.Close(), p.levels.Close(), p.colours.Close(), p.heat.Close())
}

// Map is a depth map with the range that its colours span; without a range, its own.
type Map struct {
	*depthmap.Map
	Range *depthmap.Range
}

// Forget drops the last depth map: another source is drawn next.
func (p *Painter) Forget() {
	p.heat.Close()
	p.heat = gocv.NewMat()
}

// Draw draws a scene: picture is its JPEG, or empty when it has none, and size then what it would have (width, height);
// depth is its map, or nil, and then the last one is drawn again. What it returns, 8-bit BGR of twice the picture's
// width, is valid until the next call. [ErrDraw] or [depthmap.ErrMap] is returned when either can't be decoded.
func (p *Painter) Draw(picture []byte, size [2]int, detections []flow.Detection, depth *Map) (*gocv.Mat, error) {
	if err := p.decode(picture, size); err != nil {
		return nil, err
	}
	width, height := p.picture.Cols(), p.picture.Rows()
	if err := p.colour(depth, image.Pt(width, height)); err != nil {
		return nil, err
	}
	if p.canvas.Cols() != 2*width || p.canvas.Rows() != height {
		p.canvas.Close()
		p.canvas = gocv.NewMatWithSize(height, 2*width, gocv.MatTypeCV8UC3)
	}
	left, right := p.canvas.Region(image.Rect(0, 0, width, height)), p.canvas.Region(image.Rect(width, 0, 2*width, height))
	defer left.Close()
	defer right.Close()
	err := p.picture.CopyTo(&left)
	if p.heat.Empty() {
		right.SetTo(gocv.NewScalar(30, 21, 16, 0))
	} else {
		err = errors.Join(err, p.heat.CopyTo(&right))
	}
	for _, d := range detections {
		err = errors.Join(err, box(&left, d), box(&right, d))
	}
	err = errors.Join(err, labels(&left, detections))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDraw, err)
	}
	return &p.canvas, nil
}

func (p *Painter) decode(picture []byte, size [2]int) error {
	if len(picture) > 0 {
		p.picture.Close()
		p.picture = gocv.NewMat()
		if err := gocv.IMDecodeIntoMat(picture, gocv.IMReadColor, &p.picture); err != nil || p.picture.Empty() {
			return fmt.Errorf("%w: a picture of %d bytes can't be decoded", ErrDraw, len(picture))
		}
		return nil
	}
	if size[0] < 1 || size[1] < 1 || size[0] > 1<<15 || size[1] > 1<<15 {
		size = [2]int{640, 360}
	}
	p.picture.Close()
	p.picture = gocv.NewMatWithSizeFromScalar(gocv.NewScalar(30, 21, 16, 0), size[1], size[0], gocv.MatTypeCV8UC3)
	return nil
}

// colour makes the heat map of a depth map, inferno, as large as the picture.
func (p *Painter) colour(depth *Map, size image.Point) error {
	if depth == nil {
		if p.heat.Empty() || p.heat.Cols() == size.X && p.heat.Rows() == size.Y {
			return nil
		}
		return gocv.Resize(p.colours, &p.heat, size, 0, 0, gocv.InterpolationLinear)
	}
	samples, err := p.unpacker.Unpack(depth.Map)
	if err != nil {
		return err
	}
	stable := depth.Range
	if stable == nil {
		stable = &depthmap.Range{Low: depth.Value(0), High: depth.Value(uint16(1<<depth.Bits - 1))}
	}
	if p.levels.Cols() != depth.Width || p.levels.Rows() != depth.Height {
		p.levels.Close()
		p.levels = gocv.NewMatWithSize(depth.Height, depth.Width, gocv.MatTypeCV8U)
	}
	levels, err := p.levels.DataPtrUint8()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDraw, err)
	}
	for i, sample := range samples {
		levels[i] = uint8(2.55*stable.Nearness(depth.Kind, depth.Value(sample)) + .5)
	}
	err = gocv.ApplyColorMap(p.levels, &p.colours, gocv.ColormapInferno)
	if err == nil {
		err = gocv.Resize(p.colours, &p.heat, size, 0, 0, gocv.InterpolationLinear)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDraw, err)
	}
	return nil
}

func box(on *gocv.Mat, d flow.Detection) error {
	r, thick := label.Bounds(d.Box, image.Pt(on.Cols(), on.Rows())), max(1, on.Cols()/480)
	return errors.Join(gocv.Rectangle(on, r, color.RGBA{A: 255}, thick+2), gocv.Rectangle(on, r, label.Color(d.ClassID), thick))
}

// labels writes over the boxes what they are.
func labels(on *gocv.Mat, detections []flow.Detection) (err error) {
	picture := image.Pt(on.Cols(), on.Rows())
	scale := max(.36, float64(picture.X)/1700)
	measure := func(text string) image.Point {
		return gocv.GetTextSize(text, gocv.FontHersheySimplex, scale, 1).Add(image.Pt(6, 6))
	}
	for _, l := range label.Layout(detections, picture, measure) {
		err = errors.Join(err, gocv.Rectangle(on, l.Place, l.Color, -1),
			gocv.PutTextWithParams(on, l.Text, image.Pt(l.Place.Min.X+3, l.Place.Max.Y-4), gocv.FontHersheySimplex, scale, color.RGBA{A: 255}, 1, gocv.LineAA, false))
	}
	return err
}
