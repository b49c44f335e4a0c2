package depthmap

import (
	"runtime"

	"golang.org/x/sync/errgroup"
)

// Upsample makes samples of to width × height out of a map's, as the authors of Depth Anything bring their maps to the size of
// the picture: bilinear, the middles of the corner pixels on each other (align_corners). Where nothing is to be done, the same
// samples are returned. It works on all cores. Sizes are 1 or more; a map has at most 65,535 columns and rows.
func Upsample(samples []uint16, width, height, toWidth, toHeight int) []uint16 {
	if width == toWidth && height == toHeight {
		return samples
	}
	columns := make([]place, toWidth)
	for x := range columns {
		columns[x] = placeAt(x, toWidth, width)
	}
	out := make([]uint16, toWidth*toHeight)
	var strips errgroup.Group
	strips.SetLimit(runtime.GOMAXPROCS(0))
	for top := 0; top < toHeight; top += stripRows {
		strips.Go(func() error {
			upper, lower := wideRow{at: -1, values: make([]uint32, toWidth)}, wideRow{at: -1, values: make([]uint32, toWidth)}
			for y := top; y < min(top+stripRows, toHeight); y++ {
				p := placeAt(y, toHeight, height)
				if lower.at == p.at {
					upper, lower = lower, upper
				}
				upper.stretch(samples, width, p.at, columns)
				lower.stretch(samples, width, p.next, columns)
				blend(out[y*toWidth:(y+1)*toWidth], upper.values, lower.values, p.share)
			}
			return nil
		})
	}
	_ = strips.Wait() // no strip fails
	return out
}

// stripRows is how many rows one core works on at a time.
const stripRows = 48

// wideRow is a row of the map at the new width, in samples × one.
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

// place is where a new pixel lies between two of the map; share of one is the next's weight.
type place struct {
	at, next int
	share    uint32
}

const one = 1 << 11

func placeAt(i, to, from int) place {
	if to == 1 {
		return place{}
	}
	whole := i * (from - 1)
	at := whole / (to - 1)
	share := (whole%(to-1)*one + (to-1)/2) / (to - 1)
	return place{at, min(at+1, from-1), uint32(share)}
}
