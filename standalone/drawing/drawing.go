// Package drawing draws scenes into pictures and videos: the picture with its boxes, and the depth heat map beside it.
package drawing

import (
	"cmp"
	"errors"
	"fmt"
	"image"
	"image/color"
	"slices"

	"gocv.io/x/gocv"

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

// texts are what may be written over a box, the best first.
func texts(d flow.Detection) [2]string {
	full := fmt.Sprintf("%s %.0f%%", d.Label, 100*d.Score)
	switch {
	case d.Depth == nil:
	case d.Depth.Kind == depthmap.Metric:
		full += fmt.Sprintf(" %.1f m", d.Depth.Value)
	default:
		full += fmt.Sprintf(" near %.0f%%", d.Depth.Nearness)
	}
	return [2]string{full, d.Label}
}

// palette has the viewer page's colours of labels.
var palette = []color.RGBA{
	{0x4c, 0xc9, 0xf0, 255}, {0x7a, 0xe5, 0x82, 255}, {0xff, 0xd1, 0x66, 255}, {0xff, 0x8f, 0xab, 255}, {0xb8, 0xa1, 0xff, 255},
	{0x5e, 0xea, 0xd4, 255}, {0xff, 0xab, 0x70, 255}, {0x9b, 0xd1, 0xff, 255}, {0xe3, 0xf2, 0x7a, 255}, {0xf4, 0xa6, 0xff, 255},
}

func colourOf(d flow.Detection) color.RGBA { return palette[max(d.ClassID, 0)%len(palette)] }

// bounds are a box in whole pixels, inside the picture.
func bounds(d flow.Detection, picture image.Point) image.Rectangle {
	at := func(v float32, most int) int { return int(min(max(v, 0), float32(most-1))) }
	return image.Rect(at(d.Box[0], picture.X), at(d.Box[1], picture.Y), at(d.Box[2], picture.X), at(d.Box[3], picture.Y))
}

func box(on *gocv.Mat, d flow.Detection) error {
	r, thick := bounds(d, image.Pt(on.Cols(), on.Rows())), max(1, on.Cols()/480)
	return errors.Join(gocv.Rectangle(on, r, color.RGBA{A: 255}, thick+2), gocv.Rectangle(on, r, colourOf(d), thick))
}

// labels writes over the boxes what they are, those of large boxes first, so that they stay where they are while small
// ones come and go. No label covers another: it is cut to the class, or left out.
func labels(on *gocv.Mat, detections []flow.Detection) error {
	picture := image.Pt(on.Cols(), on.Rows())
	scale := max(.36, float64(picture.X)/1700)
	area := func(d flow.Detection) float32 { return (d.Box[2] - d.Box[0]) * (d.Box[3] - d.Box[1]) }
	largest := slices.SortedStableFunc(slices.Values(detections), func(a, b flow.Detection) int { return cmp.Compare(area(b), area(a)) })
	var taken []image.Rectangle
	var err error
	for _, d := range largest {
		for _, text := range texts(d) {
			size := gocv.GetTextSize(text, gocv.FontHersheySimplex, scale, 1).Add(image.Pt(6, 6))
			place, ok := placeLabel(bounds(d, picture), size, picture, taken)
			if !ok {
				continue
			}
			taken = append(taken, place)
			err = errors.Join(err, gocv.Rectangle(on, place, colourOf(d), -1),
				gocv.PutTextWithParams(on, text, image.Pt(place.Min.X+3, place.Max.Y-4), gocv.FontHersheySimplex, scale, color.RGBA{A: 255}, 1, gocv.LineAA, false))
			break
		}
	}
	return err
}

// placeLabel says where a label of this size goes that covers no other: over its box, under it, or inside it. It is not
// ok when there is no room.
func placeLabel(box image.Rectangle, size, picture image.Point, taken []image.Rectangle) (place image.Rectangle, ok bool) {
	left := max(0, min(box.Min.X, picture.X-size.X))
	for _, top := range [...]int{box.Min.Y - size.Y, box.Max.Y, box.Min.Y} {
		place = image.Rectangle{Min: image.Pt(left, top), Max: image.Pt(left, top).Add(size)}
		if top >= 0 && place.Max.Y <= picture.Y && !slices.ContainsFunc(taken, place.Overlaps) {
			return place, true
		}
	}
	return image.Rectangle{}, false
}
