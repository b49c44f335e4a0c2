package picture

import (
	"fmt"
	"image"
	"math"

	"gocv.io/x/gocv"
)

// pad is the grey of a letterbox's bars, 0 to 255 (Ultralytics, data/augment.py, LetterBox).
const pad = 114

// Fit is where a picture lies in its letterbox: scaled to Width × Height pixels, Left and Top from its corner.
type Fit struct {
	PictureWidth, PictureHeight int
	BoxWidth, BoxHeight         int
	Width, Height               int
	Left, Top                   int
}

// NewFit fits a picture into a box of boxWidth × boxHeight pixels as Ultralytics does (data/augment.py, LetterBox):
// one scale, centred, rounded half to even.
func NewFit(width, height, boxWidth, boxHeight int) Fit {
	scale := min(float64(boxHeight)/float64(height), float64(boxWidth)/float64(width))
	f := Fit{PictureWidth: width, PictureHeight: height, BoxWidth: boxWidth, BoxHeight: boxHeight}
	f.Width = max(1, int(math.RoundToEven(float64(width)*scale)))
	f.Height = max(1, int(math.RoundToEven(float64(height)*scale)))
	f.Left = int(math.RoundToEven(float64(boxWidth-f.Width)/2 - 0.1))
	f.Top = int(math.RoundToEven(float64(boxHeight-f.Height)/2 - 0.1))
	return f
}

// RectBox is the smallest box, with sides that are multiples of stride, in which a picture has the scale it would have
// in a square of size (Ultralytics' auto letterbox, for models of free size).
func RectBox(width, height, size, stride int) (boxWidth, boxHeight int) {
	f := NewFit(width, height, size, size)
	bars := func(side int) int { return side + (size-side)%stride }
	return bars(f.Width), bars(f.Height)
}

// Back maps a box from letterbox pixels to pixels of the picture, cut to it (Ultralytics, utils/ops.py, scale_boxes:
// one gain per axis, from the rounded size).
func (f Fit) Back(box [4]float32) [4]float32 {
	gainX, gainY := float32(f.Width)/float32(f.PictureWidth), float32(f.Height)/float32(f.PictureHeight)
	x := func(v float32) float32 { return min(max((v-float32(f.Left))/gainX, 0), float32(f.PictureWidth)) }
	y := func(v float32) float32 { return min(max((v-float32(f.Top))/gainY, 0), float32(f.PictureHeight)) }
	return [4]float32{x(box[0]), y(box[1]), x(box[2]), y(box[3])}
}

// Letterbox writes the picture into dst as a float tensor [3, boxHeight, boxWidth], RGB, 0 to 1, and tells where it lies.
func (p *Picture) Letterbox(dst []float32, boxWidth, boxHeight int) (Fit, error) {
	width, height := p.Size()
	f := NewFit(width, height, boxWidth, boxHeight)
	source := p.pixels
	if f.Width != p.pixels.Cols() || f.Height != p.pixels.Rows() {
		if err := gocv.Resize(p.pixels, &p.scaled, image.Pt(f.Width, f.Height), 0, 0, gocv.InterpolationLinear); err != nil {
			return f, fmt.Errorf("%w: letterbox: %w", ErrPicture, err)
		}
		source = p.scaled
	}
	pixels, err := source.DataPtrUint8()
	if err != nil {
		return f, fmt.Errorf("%w: letterbox: %w", ErrPicture, err)
	}
	plane := boxWidth * boxHeight
	if len(dst) != 3*plane {
		return f, fmt.Errorf("letterbox: a tensor of %d values for 3x%dx%d", len(dst), boxHeight, boxWidth)
	}
	for c := range 3 {
		bars(dst[c*plane:(c+1)*plane], boxWidth, f)
	}
	for y := range f.Height {
		row := pixels[y*f.Width*3 : (y+1)*f.Width*3]
		at := (f.Top+y)*boxWidth + f.Left
		planes(row, dst[at:at+f.Width], dst[plane+at:plane+at+f.Width], dst[2*plane+at:2*plane+at+f.Width])
	}
	return f, nil
}

// bars paints what the picture leaves of a plane.
func bars(plane []float32, width int, f Fit) {
	grey := func(values []float32) {
		for i := range values {
			values[i] = pad / 255.
		}
	}
	height := len(plane) / width
	grey(plane[:f.Top*width])
	for y := f.Top; y < f.Top+f.Height; y++ {
		grey(plane[y*width : y*width+f.Left])
		grey(plane[y*width+f.Left+f.Width : (y+1)*width])
	}
	grey(plane[(f.Top+f.Height)*width : height*width])
}

// unit is every byte divided by 255.
var unit = func() (table [256]float32) {
	for i := range table {
		table[i] = float32(i) / 255
	}
	return table
}()

// planes splits a row of BGR bytes into three rows of floats 0 to 1.
func planes(bgr []byte, red, green, blue []float32) {
	green, blue = green[:len(red)], blue[:len(red)]
	for i := range red {
		pixel := bgr[:3:3]
		red[i], green[i], blue[i] = unit[pixel[2]], unit[pixel[1]], unit[pixel[0]]
		bgr = bgr[3:]
	}
}
