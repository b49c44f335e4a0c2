// Package tensor turns pictures into the float tensors that models take. All pixels are OpenCV's: its decoder and its
// resizing are what the models' own authors use, and other arithmetic moves boxes.
package tensor

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg" // the header of what OpenCV will decode
	_ "image/png"

	"gocv.io/x/gocv"

	"github.com/spatial-flow/spatial-flow/flow/picture"
)

// MaxPixels bounds a picture: its header is read before anything is allocated for it.
const MaxPixels = 64 << 20

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

// Decode reads a JPEG or PNG. [ErrPicture] is returned when it is none, is broken, or has more than [MaxPixels].
func (p *Picture) Decode(data []byte) error {
	p.release()
	h, err := readHeader(data)
	if err != nil {
		return err
	}
	return p.decode(data, h)
}

// header is what a picture says of itself before it is decoded.
type header struct {
	format        string
	width, height int
}

// readHeader returns [ErrPicture] when the picture is not to be decoded.
func readHeader(data []byte) (header, error) {
	config, format, err := image.DecodeConfig(bytes.NewReader(data))
	h := header{format, config.Width, config.Height}
	if err != nil {
		return h, fmt.Errorf("%w: %d bytes: %w", ErrPicture, len(data), err)
	}
	if h.width < 1 || h.height < 1 || h.width > MaxPixels/h.height {
		return h, fmt.Errorf("%w: %dx%d pixels, at most %d in all", ErrPicture, h.width, h.height, MaxPixels)
	}
	if format == "jpeg" {
		if err := picture.CheckJPEG(data); err != nil {
			return h, fmt.Errorf("%w: %w", ErrPicture, err)
		}
	}
	return h, nil
}

func (p *Picture) decode(data []byte, h header) error {
	// A new Mat: when a header is bad OpenCV leaves the one that it is given as it was, with the picture before.
	p.pixels.Close()
	p.pixels = gocv.NewMat()
	if err := gocv.IMDecodeIntoMat(data, gocv.IMReadColor, &p.pixels); err != nil {
		return fmt.Errorf("%w: decode %s: %w", ErrPicture, h.format, err)
	}
	if p.pixels.Empty() {
		return fmt.Errorf("%w: decode %s of %dx%d", ErrPicture, h.format, h.width, h.height)
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
