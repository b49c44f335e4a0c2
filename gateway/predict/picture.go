package predict

import (
	"context"
	"fmt"
	"image"
	"net/http"

	"golang.org/x/image/draw"
	"golang.org/x/sync/semaphore"

	"github.com/spatial-flow/spatial-flow/flow/picture"
)

const (
	maxSide       = 1920 // pixels of the longer side of a picture that is made smaller, at first
	leastSide     = 240  // below which it is not made
	resentQuality = 90   // JPEG quality of what is encoded here
)

// sent is a picture on its way: JPEG bytes that fit into a message.
type sent struct {
	jpeg          []byte
	width, height int // pixels of the picture as people see it: turned as EXIF says, before it was made smaller
}

// Memory that converting takes at once, by what the pictures' headers say: each counts as one or the other, so that the small
// don't wait for the large.
const (
	smallMemory = 192 << 20
	largeMemory = 384 << 20 // also what one picture takes at most
	smallCost   = 96 << 20  // a photograph of 16 million pixels; what takes more is large
)

// converting is the memory of pictures that are converted here.
type converting struct{ small, large *semaphore.Weighted }

func newConverting() converting {
	return converting{semaphore.NewWeighted(smallMemory), semaphore.NewWeighted(largeMemory)}
}

// prepare makes a body fit for the workers. A JPEG travels byte for byte, unless it must be turned, holds inks, or is too large
// for the most bytes that it may take; what must be encoded, is at its size, or, if that is too large, at most 1920 pixels long,
// or half of that, and so on. [picture.ErrBroken], [picture.ErrKind] or [picture.ErrLarge] is returned for a body that can't be
// looked at, a refusal when there is no memory to convert it before ctx ends.
func (c converting) prepare(ctx context.Context, body []byte, most, maxPixels int) (sent, error) {
	file, err := picture.Open(body)
	if err != nil {
		return sent{}, err
	}
	s := sent{jpeg: body, width: file.Width, height: file.Height}
	if file.Ready() && len(body) <= most {
		return s, nil
	}
	if file.Kind != picture.JPEG {
		if err := file.Fits(maxPixels); err != nil {
			return sent{}, err
		}
	}
	cost, memory := file.Cost(), c.large
	switch {
	case cost > largeMemory:
		return sent{}, fmt.Errorf("%w: a %s of %dx%d takes %d MiB to be converted, at most %d: make it smaller, or an upright baseline JPEG",
			picture.ErrLarge, file.Kind, file.Width, file.Height, cost>>20, largeMemory>>20)
	case cost <= smallCost:
		memory = c.small
	}
	if memory.Acquire(ctx, cost) != nil {
		return sent{}, refused(http.StatusServiceUnavailable, reasonFull, "other pictures are being converted")
	}
	defer memory.Release(cost)
	img, err := file.Decode()
	if err != nil {
		return sent{}, err
	}
	s.jpeg, err = encode(img)
	for side := maxSide; err == nil && len(s.jpeg) > most; side /= 2 {
		if side < leastSide {
			return sent{}, fmt.Errorf("%w: %d bytes as JPEG of at most %d pixels' length, at most %d fit into a message", picture.ErrBroken, len(s.jpeg), 2*side, most)
		}
		s.jpeg, err = encode(smaller(img, side))
	}
	return s, err
}

// smaller is the picture with its longer side of at most side pixels.
func smaller(img image.Image, side int) image.Image {
	width, height := img.Bounds().Dx(), img.Bounds().Dy()
	longer := max(width, height)
	if longer <= side {
		return img
	}
	out := image.NewRGBA(image.Rect(0, 0, max(1, width*side/longer), max(1, height*side/longer)))
	draw.ApproxBiLinear.Scale(out, out.Bounds(), img, img.Bounds(), draw.Src, nil)
	return out
}
