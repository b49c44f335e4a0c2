package picture

import (
	"errors"
	"fmt"
	"image"
	"math"

	"gocv.io/x/gocv"
)

// ImageNet's mean and standard deviation, RGB, which Depth Anything was trained with
// (Depth-Anything-V2, depth_anything_v2/dpt.py, image2tensor).
var (
	imageNetMean = [3]float32{0.485, 0.456, 0.406}
	imageNetStd  = [3]float32{0.229, 0.224, 0.225}
)

// LowerBound is the size at which Depth Anything looks at a picture: the aspect kept, the shorter side at least size,
// both sides multiples of multiple (Depth-Anything-V2, depth_anything_v2/util/transform.py, Resize, lower_bound).
func LowerBound(width, height, size, multiple int) (newWidth, newHeight int) {
	scale := max(float64(size)/float64(width), float64(size)/float64(height))
	side := func(length int) int {
		exact := scale * float64(length) / float64(multiple)
		rounded := int(math.RoundToEven(exact)) * multiple
		if rounded < size {
			rounded = int(math.Ceil(exact)) * multiple
		}
		return rounded
	}
	return side(width), side(height)
}

// Cubic writes the picture, stretched to width × height, into dst as a float tensor [3, height, width], RGB, with
// ImageNet's mean taken off and divided by its standard deviation. Resizing is bicubic, on floats, as the authors do.
func (p *Picture) Cubic(dst []float32, width, height int) error {
	if len(dst) != 3*width*height {
		return fmt.Errorf("cubic: a tensor of %d values for 3x%dx%d", len(dst), height, width)
	}
	source, err := p.resizeCubic(width, height)
	if err != nil {
		return fmt.Errorf("%w: cubic: %w", ErrPicture, err)
	}
	values, err := source.DataPtrFloat32()
	if err != nil {
		return fmt.Errorf("%w: cubic: %w", ErrPicture, err)
	}
	plane := width * height
	red, green, blue := dst[:plane], dst[plane:2*plane], dst[2*plane:3*plane]
	var gain, offset [3]float32
	for c := range 3 {
		gain[c], offset[c] = 1/imageNetStd[c], -imageNetMean[c]/imageNetStd[c]
	}
	for i := range red {
		pixel := values[:3:3]
		red[i] = pixel[2]*gain[0] + offset[0]
		green[i] = pixel[1]*gain[1] + offset[1]
		blue[i] = pixel[0]*gain[2] + offset[2]
		values = values[3:]
	}
	return nil
}

const (
	wholeBytes = 32 << 20  // of a picture that is made floats at once: 1080p takes 25 MB
	stripBytes = 256 << 10 // of the rows of a larger one that are floats at a time: less than a core's second cache
)

// resizeCubic is the picture as floats at a model's size. Floats take four times the bytes of the pixels, so the rows of a large
// picture are made floats and brought to their new width a strip at a time, and the columns to their new height then. OpenCV
// resizes one axis after the other as well, and leaves one that stays as it is the same to the bit; it only goes over it all
// the same, so that strips take a quarter longer (BenchmarkCubic).
func (p *Picture) resizeCubic(width, height int) (gocv.Mat, error) {
	rows, columns := p.pixels.Rows(), p.pixels.Cols()
	switch {
	case rows == 0 || columns == 0:
		return gocv.Mat{}, errors.New("no picture was decoded")
	case columns == width && rows == height:
		return p.cubic, p.pixels.ConvertToWithParams(&p.cubic, gocv.MatTypeCV32FC3, 1./255, 0)
	case rows*columns*floatBytes <= wholeBytes:
		if err := p.pixels.ConvertToWithParams(&p.narrow, gocv.MatTypeCV32FC3, 1./255, 0); err != nil {
			return gocv.Mat{}, err
		}
		return p.cubic, gocv.Resize(p.narrow, &p.cubic, image.Pt(width, height), 0, 0, gocv.InterpolationCubic)
	}
	return p.resizeStrips(width, height)
}

// floatBytes are those of a pixel in three colours.
const floatBytes = 3 * 4

func (p *Picture) resizeStrips(width, height int) (gocv.Mat, error) {
	rows, columns := p.pixels.Rows(), p.pixels.Cols()
	if p.narrow.Rows() != rows || p.narrow.Cols() != width {
		p.narrow.Close()
		p.narrow = gocv.NewMatWithSize(rows, width, gocv.MatTypeCV32FC3)
	}
	at := max(1, stripBytes/(columns*floatBytes))
	for top := 0; top < rows; top += at {
		if err := p.narrowStrip(top, min(top+at, rows)); err != nil {
			return gocv.Mat{}, err
		}
	}
	if rows == height {
		return p.narrow, nil
	}
	return p.cubic, gocv.Resize(p.narrow, &p.cubic, image.Pt(width, height), 0, 0, gocv.InterpolationCubic)
}

// narrowStrip brings the rows from top to below bottom to their new width.
func (p *Picture) narrowStrip(top, bottom int) error {
	pixels := p.pixels.RowRange(top, bottom)
	defer pixels.Close()
	into := p.narrow.RowRange(top, bottom)
	defer into.Close()
	if p.pixels.Cols() == p.narrow.Cols() {
		return pixels.ConvertToWithParams(&into, gocv.MatTypeCV32FC3, 1./255, 0)
	}
	if err := pixels.ConvertToWithParams(&p.strip, gocv.MatTypeCV32FC3, 1./255, 0); err != nil {
		return err
	}
	return gocv.Resize(p.strip, &into, image.Pt(p.narrow.Cols(), bottom-top), 0, 0, gocv.InterpolationCubic)
}
