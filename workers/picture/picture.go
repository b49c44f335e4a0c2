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
	// MaxPixels is how many pixels are decoded at most: larger JPEGs are decoded at 1/2, 1/4 or 1/8 of their size, what can't be
	// is refused.
	MaxPixels int

	pixels        gocv.Mat // 8-bit BGR; of a large picture, fewer than it has
	width, height int      // of the picture
	scaled        gocv.Mat // 8-bit BGR at a model's size
	strip         gocv.Mat // some rows, 32-bit BGR, 0 to 1
	narrow        gocv.Mat // 32-bit BGR of the pixels' height; of a large picture of a model's width
	cubic         gocv.Mat // 32-bit BGR at a model's size

	from   *Shared  // where shared is from
	shared *decoded // nil, or what pixels belong to
}

// Frames are worked on side by side: threads within one would only be in the way. OpenCV crashes when this is said while others
// work, so it is said before anything is.
func init() { gocv.SetNumThreads(1) }

// NewPicture makes an empty picture with [picture.DefaultMaxPixels]; Close frees it.
func NewPicture() *Picture {
	return &Picture{
		MaxPixels: picture.DefaultMaxPixels,
		pixels:    gocv.NewMat(), scaled: gocv.NewMat(), strip: gocv.NewMat(), narrow: gocv.NewMat(), cubic: gocv.NewMat(),
	}
}

// Close frees the picture's memory.
func (p *Picture) Close() error {
	p.release()
	return errors.Join(p.pixels.Close(), p.scaled.Close(), p.strip.Close(), p.narrow.Close(), p.cubic.Close())
}

// Decode reads what [picture.Open] takes, and as a person sees it. A frame's picture is a JPEG that needs no turning; who
// publishes others has them looked at all the same. [ErrPicture] is returned when it is none, is broken, has more than
// [picture.MaxPixels], or can't be decoded to at most p.MaxPixels.
func (p *Picture) Decode(data []byte) error {
	p.release()
	file, err := p.open(data)
	if err != nil {
		return err
	}
	return p.decode(file)
}

// file is a picture file that is to be decoded by times smaller.
type file struct {
	picture.File
	data []byte
	by   int
}

// size is that of the pixels.
func (f file) size() (width, height int) { return f.Reduced(f.by) }

// open returns [ErrPicture] when the picture is not to be decoded.
func (p *Picture) open(data []byte) (file, error) {
	opened, err := picture.Open(data)
	if err != nil {
		return file{}, fmt.Errorf("%w: %d bytes: %w", ErrPicture, len(data), err)
	}
	by, err := opened.Reduction(p.MaxPixels)
	if err != nil {
		return file{}, fmt.Errorf("%w: %w", ErrPicture, err)
	}
	return file{opened, data, by}, nil
}

// decoders, by how many times smaller they make a JPEG.
var decoders = map[int]gocv.IMReadFlag{1: gocv.IMReadColor, 2: gocv.IMReadReducedColor2, 4: gocv.IMReadReducedColor4, 8: gocv.IMReadReducedColor8}

func (p *Picture) decode(f file) error {
	// A new Mat: when a header is bad OpenCV leaves the one that it is given as it was, with the picture before.
	p.pixels.Close()
	p.pixels, p.width, p.height = gocv.NewMat(), 0, 0
	if f.Ready() || f.by > 1 {
		if err := gocv.IMDecodeIntoMat(f.data, decoders[f.by], &p.pixels); err != nil {
			return fmt.Errorf("%w: decode: %w", ErrPicture, err)
		}
	} else if err := p.convert(f); err != nil {
		return err
	}
	if width, height := f.size(); p.pixels.Cols() != width || p.pixels.Rows() != height {
		return fmt.Errorf("%w: decode %s of %dx%d", ErrPicture, f.Kind, f.Width, f.Height)
	}
	p.width, p.height = f.Width, f.Height
	return nil
}

// convert decodes what is no JPEG as it should be.
func (p *Picture) convert(f file) error {
	img, err := f.Decode()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPicture, err)
	}
	mat, err := gocv.NewMatFromBytes(f.Height, f.Width, gocv.MatTypeCV8UC4, img.Pix)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPicture, err)
	}
	defer mat.Close()
	if err := gocv.CvtColor(mat, &p.pixels, gocv.ColorRGBAToBGR); err != nil {
		return fmt.Errorf("%w: %w", ErrPicture, err)
	}
	return nil
}

// keptBytes is what a picture's buffers may hold on to in all from one frame to the next: those of a 4K picture fit.
const keptBytes = 64 << 20

// Trim gives back what is shared, and what a huge picture took.
func (p *Picture) Trim() {
	p.release()
	buffers, kept := []*gocv.Mat{&p.cubic, &p.strip, &p.scaled, &p.narrow, &p.pixels}, 0
	for _, mat := range buffers {
		if kept += mat.Total() * mat.ElemSize(); kept > keptBytes {
			kept -= mat.Total() * mat.ElemSize()
			mat.Close()
			*mat = gocv.NewMat()
		}
	}
}

// Size is the picture's width and height in pixels, however small it was decoded.
func (p *Picture) Size() (width, height int) { return p.width, p.height }
