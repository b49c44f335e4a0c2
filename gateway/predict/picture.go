package predict

import (
	"context"
	"fmt"
	"image"
	"net/http"
	"slices"

	"golang.org/x/image/draw"

	"github.com/spatial-flow/spatial-flow/flow/depthmap"
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

// converting lets one picture at a time be decoded here: that may take 16 bytes a pixel, those of a progressive JPEG's
// coefficients and colours, 1 GiB in all. It holds a token meanwhile.
type converting chan struct{}

// prepare makes a body fit for the workers. A JPEG travels byte for byte, unless it must be turned, holds inks, or is too large
// for the most bytes that it may take; what must be encoded, is at its size, or, if that is too large, at most 1920 pixels long,
// or half of that, and so on. [picture.ErrBroken] or [picture.ErrKind] is returned for a body that can't be looked at, a refusal
// when ctx ends while other pictures are converted.
func (c converting) prepare(ctx context.Context, body []byte, most int) (sent, error) {
	file, err := picture.Open(body)
	if err != nil {
		return sent{}, err
	}
	s := sent{jpeg: body, width: file.Width, height: file.Height}
	if file.Ready() && len(body) <= most {
		return s, nil
	}
	select {
	case c <- struct{}{}:
		defer func() { <-c }()
	case <-ctx.Done():
		return sent{}, refused(http.StatusServiceUnavailable, reasonFull, "other pictures are being converted")
	}
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

// rawDepth is a depth map resized to some size, in samples: larger samples are larger values.
type rawDepth struct {
	m             *depthmap.Map
	samples       []uint16 // width × height
	width, height int
	low, high     uint16
}

// resize makes a map of width × height out of samples, bilinearly, corners of pixels on corners of pixels.
func resize(m *depthmap.Map, samples []uint16, width, height int) rawDepth {
	r := rawDepth{m: m, samples: samples, width: width, height: height}
	r.low, r.high = slices.Min(samples), slices.Max(samples)
	if m.Width == width && m.Height == height {
		return r
	}
	columns := make([]place, width)
	for x := range columns {
		columns[x] = placeAt(x, width, m.Width)
	}
	r.samples = make([]uint16, width*height)
	_ = inStrips(height, func(top, bottom int) error {
		upper, lower := wideRow{at: -1, values: make([]uint32, width)}, wideRow{at: -1, values: make([]uint32, width)}
		for y := top; y < bottom; y++ {
			p := placeAt(y, height, m.Height)
			if lower.at == p.at {
				upper, lower = lower, upper
			}
			upper.stretch(samples, m.Width, p.at, columns)
			lower.stretch(samples, m.Width, p.next, columns)
			blend(r.samples[y*width:(y+1)*width], upper.values, lower.values, p.share)
		}
		return nil
	})
	return r
}

// wideRow is a row of the smaller picture at the larger one's width, in samples × one.
type wideRow struct {
	at     int // which row; -1: none yet
	values []uint32
}

// stretch makes it row at of samples, whose rows have width; nothing is to be done when it is that already.
func (r *wideRow) stretch(samples []uint16, width, at int, columns []place) {
	if r.at == at {
		return
	}
	r.at = at
	row := samples[at*width : (at+1)*width]
	values := r.values[:len(columns)]
	for x, c := range columns {
		values[x] = uint32(row[c.at])*(one-c.share) + uint32(row[c.next])*c.share
	}
}

// blend makes a row between two wide ones, share of one towards the lower.
func blend(row []uint16, upper, lower []uint32, share uint32) {
	upper, lower = upper[:len(row)], lower[:len(row)]
	above, below := uint64(one-share), uint64(share)
	for x := range row {
		row[x] = uint16((uint64(upper[x])*above + uint64(lower[x])*below + one*one/2) / (one * one))
	}
}

// place is where a pixel of the larger picture lies between two of the smaller; share of one is the next's weight.
type place struct {
	at, next int
	share    uint32
}

const one = 1 << 11

func placeAt(i, large, small int) place {
	middle := max(0, (float64(i)+.5)*float64(small)/float64(large)-.5)
	at := min(int(middle), small-1)
	return place{at, min(at+1, small-1), uint32((middle - float64(at)) * one)}
}

// median is the median value in a box, in pixels of the map, clipped to it; at least one pixel counts.
func (r rawDepth) median(box [4]float32) float32 {
	clip := func(v float32, most int) int { return min(max(int(v), 0), most) }
	left, top := clip(box[0], r.width-1), clip(box[1], r.height-1)
	right, bottom := max(clip(box[2], r.width), left+1), max(clip(box[3], r.height), top+1)
	counts := make([]int, int(r.high)+1)
	for y := top; y < bottom; y++ {
		for _, s := range r.samples[y*r.width+left : y*r.width+right] {
			counts[s]++
		}
	}
	n := (right - left) * (bottom - top)
	return (r.m.Value(rank(counts, (n-1)/2)) + r.m.Value(rank(counts, n/2))) / 2
}

func rank(counts []int, rank int) uint16 {
	for sample, n := range counts {
		if rank < n {
			return uint16(sample)
		}
		rank -= n
	}
	return uint16(len(counts) - 1) // not reached: the counts add up to more than rank
}

// grey is the map from its least to its greatest value as a grey JPEG.
func (r rawDepth) grey() ([]byte, error) {
	span := max(int(r.high)-int(r.low), 1)
	var shades [1 << 16]uint8
	for s := int(r.low); s <= int(r.high); s++ {
		shades[s] = uint8(((s-int(r.low))*255 + span/2) / span)
	}
	return encodeGrey(r.width, r.height, func(pixels []byte, top, bottom int) {
		for i, sample := range r.samples[top*r.width : bottom*r.width] {
			pixels[i] = shades[sample]
		}
	})
}
