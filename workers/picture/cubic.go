package picture

import (
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
	if err := p.pixels.ConvertToWithParams(&p.floats, gocv.MatTypeCV32FC3, 1./255, 0); err != nil {
		return fmt.Errorf("%w: cubic: %w", ErrPicture, err)
	}
	source := p.floats
	if pictureWidth, pictureHeight := p.Size(); pictureWidth != width || pictureHeight != height {
		if err := gocv.Resize(p.floats, &p.cubic, image.Pt(width, height), 0, 0, gocv.InterpolationCubic); err != nil {
			return fmt.Errorf("%w: cubic: %w", ErrPicture, err)
		}
		source = p.cubic
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
