// Package depthmap packs depth maps for the wire; what a map is, how it is unpacked, and how near a value is, is a reader's:
// package client/depthmap.
package depthmap

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/klauspost/compress/zlib"

	"github.com/spatial-flow/spatial-flow/client/depthmap"
)

type (
	Kind     = depthmap.Kind     // what the numbers of a depth map mean
	Map      = depthmap.Map      // a model's depth output, packed for the wire
	Range    = depthmap.Range    // a source's stable range of depth values
	Unpacker = depthmap.Unpacker // unpacks depth maps; one serves one goroutine
)

const (
	InverseRelative = depthmap.InverseRelative
	Relative        = depthmap.Relative
	Metric          = depthmap.Metric

	MinBits     = depthmap.MinBits
	MaxBits     = depthmap.MaxBits
	DefaultBits = 10 // what workers send
	MaxSide     = depthmap.MaxSide
	MaxSamples  = depthmap.MaxSamples
)

// ErrMap is returned when a depth map can't be packed or unpacked.
var ErrMap = depthmap.ErrMap

func finite(v float32) bool { return v-v == 0 }

// Packer packs depth maps; it keeps its buffers, so one packer serves one goroutine.
type Packer struct {
	words  []byte
	out    bytes.Buffer
	writer *zlib.Writer
}

// Pack packs width × height values, row by row. What is not finite becomes the smallest finite value.
// [ErrMap] is returned when the sizes disagree or break a bound, or no value is finite.
// The map's Data is a slice of its own.
func (p *Packer) Pack(values []float32, width, height int, kind Kind, bits int) (*Map, error) {
	d := &Map{Width: width, Height: height, Kind: kind, Bits: bits}
	if err := d.Validate(); err != nil {
		return nil, err
	}
	if len(values) != width*height {
		return nil, fmt.Errorf("%w: %d values for %dx%d", ErrMap, len(values), width, height)
	}
	low, high := float32(math.MaxFloat32), float32(-math.MaxFloat32)
	for _, v := range values {
		if v < low && finite(v) {
			low = v
		}
		if v > high && finite(v) {
			high = v
		}
	}
	if low > high {
		return nil, fmt.Errorf("%w: none of its %d values is finite", ErrMap, len(values))
	}
	top := float64(uint(1)<<bits - 1)
	scale := (float64(high) - float64(low)) / top
	d.Offset, d.Scale = low, float32(scale)
	if !finite(high-low) || !finite(d.Value(uint16(top))) {
		return nil, fmt.Errorf("%w: values from %v to %v are too far apart", ErrMap, low, high)
	}
	inverse := float32(0)
	if d.Scale > 0 {
		inverse = float32(1 / scale)
	}
	p.words = slices.Grow(p.words[:0], 2*len(values))[:2*len(values)]
	for y := range height {
		row, words := values[y*width:(y+1)*width], p.words[2*y*width:2*(y+1)*width]
		left := uint16(0)
		for x, v := range row {
			if !finite(v) {
				v = low
			}
			sample := uint16(min((v-low)*inverse+0.5, float32(top)))
			binary.LittleEndian.PutUint16(words[2*x:], sample-left)
			left = sample
		}
	}
	if err := p.deflate(); err != nil {
		return nil, err
	}
	d.Data = bytes.Clone(p.out.Bytes())
	return d, nil
}

// level is Huffman coding alone: the differences are noise to a match finder.
// BenchmarkPack compares the levels.
const level = -2

func (p *Packer) deflate() error {
	p.out.Reset()
	if p.writer == nil {
		w, err := zlib.NewWriterLevel(&p.out, level)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrMap, err)
		}
		p.writer = w
	} else {
		p.writer.Reset(&p.out)
	}
	if _, err := p.writer.Write(p.words); err != nil {
		return fmt.Errorf("%w: deflate: %w", ErrMap, err)
	}
	if err := p.writer.Close(); err != nil {
		return fmt.Errorf("%w: deflate: %w", ErrMap, err)
	}
	return nil
}
