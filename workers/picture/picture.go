// Package picture turns pictures into the float tensors that models take. All pixels are OpenCV's: its decoder and its
// resizing are what the models' own authors use, and other arithmetic moves boxes.
package picture

import (
	"errors"
	"fmt"

	"gocv.io/x/gocv"

	"github.com/spatial-flow/spatial-flow/flow/picture"
)

// ErrPicture is returned when bytes are no picture that can be decoded.
var ErrPicture = errors.New("bad picture")

// Picture is a decoded picture with the buffers for its tensors. One picture serves one goroutine, again and again.
type Picture struct {
	pixels gocv.Mat // 8-bit BGR
	scaled gocv.Mat // the same at a model's size
	floats gocv.Mat // 32-bit BGR, 0 to 1
	cubic  gocv.Mat // floats at a model's size

	from   *Shared  // where shared is from
	shared *decoded // nil, or what pixels belong to
}

// NewPicture makes an empty picture; Close frees it.
func NewPicture() *Picture {
	gocv.SetNumThreads(1) // frames are worked on side by side: threads within one would only be in the way
	return &Picture{pixels: gocv.NewMat(), scaled: gocv.NewMat(), floats: gocv.NewMat(), cubic: gocv.NewMat()}
}

// Close frees the picture's memory.
func (p *Picture) Close() error {
	p.release()
	return errors.Join(p.pixels.Close(), p.scaled.Close(), p.floats.Close(), p.cubic.Close())
}

// Decode reads what [picture.Open] takes, and as a person sees it. A frame's picture is a JPEG that needs no turning; who
// publishes others has them looked at all the same. [ErrPicture] is returned when it is none, is broken, or has more than
// [picture.MaxPixels].
func (p *Picture) Decode(data []byte) error {
	p.release()
	file, err := open(data)
	if err != nil {
		return err
	}
	return p.decode(data, file)
}

// open returns [ErrPicture] when the picture is not to be decoded.
func open(data []byte) (picture.File, error) {
	file, err := picture.Open(data)
	if err != nil {
		return file, fmt.Errorf("%w: %d bytes: %w", ErrPicture, len(data), err)
	}
	return file, nil
}

func (p *Picture) decode(data []byte, file picture.File) error {
	// A new Mat: when a header is bad OpenCV leaves the one that it is given as it was, with the picture before.
	p.pixels.Close()
	p.pixels = gocv.NewMat()
	if !file.Ready() {
		return p.convert(file)
	}
	if err := gocv.IMDecodeIntoMat(data, gocv.IMReadColor, &p.pixels); err != nil {
		return fmt.Errorf("%w: decode: %w", ErrPicture, err)
	}
	if p.pixels.Empty() {
		return fmt.Errorf("%w: decode JPEG of %dx%d", ErrPicture, file.Width, file.Height)
	}
	return nil
}

// convert decodes what is no JPEG as it should be.
func (p *Picture) convert(file picture.File) error {
	img, err := file.Decode()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPicture, err)
	}
	mat, err := gocv.NewMatFromBytes(file.Height, file.Width, gocv.MatTypeCV8UC4, img.Pix)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPicture, err)
	}
	defer mat.Close()
	if err := gocv.CvtColor(mat, &p.pixels, gocv.ColorRGBAToBGR); err != nil {
		return fmt.Errorf("%w: %w", ErrPicture, err)
	}
	return nil
}

// keptBytes is what a buffer may hold on to from one picture to the next: a 4K picture as floats fits.
const keptBytes = 128 << 20

// Trim gives back what is shared, and what a huge picture took.
func (p *Picture) Trim() {
	p.release()
	for _, mat := range []*gocv.Mat{&p.pixels, &p.scaled, &p.floats, &p.cubic} {
		if mat.Total()*mat.ElemSize() > keptBytes {
			mat.Close()
			*mat = gocv.NewMat()
		}
	}
}

// Size is the picture's width and height in pixels.
func (p *Picture) Size() (width, height int) { return p.pixels.Cols(), p.pixels.Rows() }
