package picture

import "fmt"

// DefaultMaxPixels is how many pixels a picture is decoded to unless somebody sets another bound: 25 million, a full frame of
// most cameras, 75 MB in three colours.
const DefaultMaxPixels = 25_000_000

// coefficientBytes, times the bound in pixels, is what the coefficients of a JPEG of several scans may take: as much as those of
// a picture that just fits, in three colours of full size.
const coefficientBytes = 6

// Fits returns [ErrLarge], naming the file's kind and size, when it has more than maxPixels: those who decode it as it is, as
// [File.Decode] does, ask before.
func (f File) Fits(maxPixels int) error {
	if f.Width*f.Height <= maxPixels && f.coefficients <= coefficientBytes*maxPixels {
		return nil
	}
	return f.large(maxPixels, "make it smaller")
}

// Reduction is by how much a file is to be decoded smaller in width and height, so that at most maxPixels come out: 1, or 2, 4
// or 8 for a JPEG, which libjpeg does while it decodes; see [File.Reduced]. [ErrLarge] is returned, naming the file's kind and
// size, when that does not help: for all other kinds, JPEGs of four inks, and progressive ones, whose coefficients are all in
// memory at once, of more than twice as many pixels (or just as many, with colours of full size).
func (f File) Reduction(maxPixels int) (int, error) {
	if f.Kind != JPEG || f.inks {
		return 1, f.Fits(maxPixels)
	}
	if f.coefficients > coefficientBytes*maxPixels {
		return 0, f.large(maxPixels, "make it smaller, or store it as a baseline JPEG")
	}
	for by := 1; by <= 8; by *= 2 {
		if width, height := f.Reduced(by); width*height <= maxPixels {
			return by, nil
		}
	}
	return 0, f.large(maxPixels, "make it smaller")
}

// Reduced is the size of a JPEG that is decoded by times smaller.
func (f File) Reduced(by int) (width, height int) {
	return (f.Width + by - 1) / by, (f.Height + by - 1) / by
}

func (f File) large(maxPixels int, remedy string) error {
	kind := string(f.Kind)
	if f.coefficients > 0 {
		kind = "progressive JPEG"
	}
	return fmt.Errorf("%w: %s of %dx%d, %.1f million pixels, where at most %.1f are decoded: %s", ErrLarge, kind, f.Width, f.Height,
		float64(f.Width*f.Height)/1e6, float64(maxPixels)/1e6, remedy)
}
