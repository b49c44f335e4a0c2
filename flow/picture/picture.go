// Package picture turns picture files into what a person sees: upright, in 8-bit RGB, on one colour where they are
// transparent. It is the one decoder of all places that take pictures, so that each of them answers alike.
//
// Files are told apart by their bytes, never by a name. Of files with several pictures the first counts: of animations, of
// TIFFs with pages, of multi-picture JPEGs and those with gain maps. Colour profiles are not applied: models are trained on
// pictures that were decoded without.
package picture

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"

	"golang.org/x/image/tiff"
)

// Bounds of a picture, checked before it is decoded.
const (
	MaxPixels = 64 << 20
	MaxSide   = 1<<16 - 1 // pixels: a JPEG holds no more
)

// Background is what is behind transparent pixels: white, as browsers and paper have it.
var Background = color.RGBA{255, 255, 255, 255}

// File is a picture file that may be decoded.
type File struct {
	Kind          Kind
	Width, Height int // pixels, upright

	data         []byte
	orientation  int  // EXIF's, 1 to 8
	inks         bool // a JPEG of four colours
	coefficients int  // bytes of them, of a JPEG of several scans: all are in memory while it is decoded
	ready        bool
	perPixel     int // bytes that decoding takes
}

// Open looks at a file's bytes, which must not be changed then. [ErrKind] or [ErrBroken] is returned when they are not to be
// decoded. What is damaged further behind shows when it is decoded.
func Open(data []byte) (File, error) {
	kind, err := kindOf(data)
	if err != nil {
		return File{}, err
	}
	f := File{Kind: kind, data: data, orientation: 1}
	config, err := f.config()
	if err != nil {
		return File{}, f.broken(err)
	}
	f.Width, f.Height = config.Width, config.Height
	if f.Width < 1 || f.Height < 1 || f.Width > MaxPixels/f.Height {
		return File{}, fmt.Errorf("%w: %dx%d, want 1 to %d pixels", ErrBroken, f.Width, f.Height, MaxPixels)
	}
	if max(f.Width, f.Height) > MaxSide {
		return File{}, fmt.Errorf("%w: %dx%d, a side of at most %d pixels", ErrBroken, f.Width, f.Height, MaxSide)
	}
	if kind == JPEG {
		if err := CheckJPEG(data); err != nil {
			return File{}, fmt.Errorf("%w: %w", ErrBroken, err)
		}
		f.inks = config.ColorModel == color.CMYKModel
		f.coefficients = jpegCoefficients(data)
	}
	f.orientation = f.exifOrientation()
	if f.orientation >= 5 { // a quarter turn
		f.Width, f.Height = f.Height, f.Width
	}
	f.perPixel = f.bytesPerPixel(config.ColorModel)
	f.ready = kind == JPEG && f.orientation == 1 && !f.inks
	return f, nil
}

// Ready says whether the file is a JPEG that every decoder shows as a person sees it: upright, and grey or of three colours.
func (f File) Ready() bool { return f.ready }

// Decode is the picture, from 0, 0 on and without transparency. It takes what [File.Cost] says meanwhile, and 4 bytes a pixel
// in the end.
// [ErrKind] or [ErrBroken] is returned when it can't be decoded.
func (f File) Decode() (*image.RGBA, error) {
	img, err := f.decode()
	if err != nil {
		return nil, f.broken(err)
	}
	upright := f.upright(img)
	if upright.Rect.Dx() != f.Width || upright.Rect.Dy() != f.Height {
		return nil, fmt.Errorf("%w: %s of %v, said to be of %dx%d", ErrBroken, f.Kind, upright.Rect.Size(), f.Width, f.Height)
	}
	return upright, nil
}

// config is what the file says of itself, before it is turned.
func (f File) config() (image.Config, error) {
	r := bytes.NewReader(f.data)
	switch f.Kind {
	case JPEG:
		return jpeg.DecodeConfig(r)
	case PNG:
		return png.DecodeConfig(r)
	case GIF:
		return gif.DecodeConfig(r)
	case TIFF:
		if err := checkTIFF(f.data); err != nil {
			return image.Config{}, err
		}
		return tiff.DecodeConfig(r)
	case WebP:
		return webpConfig(f.data)
	}
	return bmpConfig(f.data)
}

func (f File) decode() (img image.Image, err error) {
	defer func() { // decoders are of many hands
		if p := recover(); p != nil {
			err = fmt.Errorf("the decoder fails: %v", p)
		}
	}()
	r := bytes.NewReader(f.data)
	switch f.Kind {
	case JPEG:
		return decodeJPEG(f.data, f.inks)
	case PNG:
		return png.Decode(r)
	case GIF:
		first, err := gif.Decode(r)
		if err != nil {
			return nil, err
		}
		return placed{first, image.Rect(0, 0, f.Width, f.Height)}, nil // it has no orientation
	case TIFF:
		return tiff.Decode(r)
	case WebP:
		return decodeWebP(f.data)
	}
	return decodeBMP(f.data)
}

func (f File) exifOrientation() int {
	switch f.Kind {
	case JPEG:
		return tiffOrientation(jpegEXIF(f.data))
	case PNG:
		return tiffOrientation(pngEXIF(f.data))
	case WebP:
		return tiffOrientation(webpEXIF(f.data))
	case TIFF:
		return tiffOrientation(f.data)
	}
	return 1
}

// broken says whether a decoder's error is about the file, or about a feature that the decoder does not know.
func (f File) broken(err error) error {
	switch err.(type) {
	case jpeg.UnsupportedError, png.UnsupportedError, tiff.UnsupportedError, unsupported:
		return fmt.Errorf("%w: %s: %w; convert it to JPEG", ErrKind, f.Kind, err)
	}
	return fmt.Errorf("%w: %s: %w", ErrBroken, f.Kind, err)
}

// unsupported is a feature that is not read.
type unsupported string

func (u unsupported) Error() string { return string(u) }

// placed is a picture on a larger one, which is transparent.
type placed struct {
	image.Image
	whole image.Rectangle
}

func (p placed) Bounds() image.Rectangle { return p.whole }
