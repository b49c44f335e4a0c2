// Package depthmap unpacks the depth maps that a gateway sends, and says how near a value is.
package depthmap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// ErrMap is returned when a depth map can't be packed or unpacked.
var ErrMap = errors.New("bad depth map")

// Kind says what the numbers of a depth map mean.
type Kind string

const (
	InverseRelative Kind = "inverse_relative" // no unit, larger is nearer (Depth Anything)
	Relative        Kind = "relative"         // no unit, larger is farther
	Metric          Kind = "metric"           // metres, larger is farther
)

// Bounds of a depth map.
const (
	MinBits    = 8
	MaxBits    = 16
	MaxSide    = 4096    // samples
	MaxSamples = 4 << 20 // of the whole map: bounded before allocation
)

// Map is a model's depth output, packed for the wire: at the model's own resolution, as unsigned samples
// of at most Bits significant bits, value = Offset + Scale × sample. Data is zlib (RFC 1950) over the samples as
// 16-bit little-endian words, row by row: a row's first sample as it is, then each sample's difference to its
// left neighbour modulo 2^16.
type Map struct {
	Width  int     `msgpack:"w" json:"width"`
	Height int     `msgpack:"h" json:"height"`
	Kind   Kind    `msgpack:"k" json:"kind"`
	Bits   int     `msgpack:"n" json:"bits"`
	Offset float32 `msgpack:"o" json:"offset"`
	Scale  float32 `msgpack:"s" json:"scale"`
	Data   []byte  `msgpack:"z" json:"-"`
}

// Range is a source's stable range of depth values: a slow mean of each map's 2nd and 98th percentile,
// so that nearness and colours don't flicker.
type Range struct {
	Low  float32 `msgpack:"lo" json:"low"`
	High float32 `msgpack:"hi" json:"high"`
}

// Nearness is where value lies in the range, as 0 (far) to 100 (near) percent.
func (r Range) Nearness(kind Kind, value float32) float32 {
	low := float64(r.Low)
	span := float64(r.High) - low // as float64: no difference of two float32 overflows
	if !(span > 0) {
		return 50
	}
	near := 100 * (float64(value) - low) / span
	if kind != InverseRelative {
		near = 100 - near
	}
	return float32(min(max(near, 0), 100))
}

// Validate returns [ErrMap] when the header breaks a bound.
func (d *Map) Validate() error {
	switch {
	case d.Width < 1 || d.Height < 1 || d.Width > MaxSide || d.Height > MaxSide || d.Width*d.Height > MaxSamples:
		return fmt.Errorf("%w: %dx%d samples, want at most %d a side and %d in all", ErrMap, d.Width, d.Height, MaxSide, MaxSamples)
	case d.Bits < MinBits || d.Bits > MaxBits:
		return fmt.Errorf("%w: %d bits, want %d to %d", ErrMap, d.Bits, MinBits, MaxBits)
	case d.Kind != InverseRelative && d.Kind != Relative && d.Kind != Metric:
		return fmt.Errorf("%w: kind %q", ErrMap, d.Kind)
	case !finite(d.Offset) || !finite(d.Scale) || !finite(d.Value(uint16(1<<d.Bits-1))):
		return fmt.Errorf("%w: offset %v, scale %v", ErrMap, d.Offset, d.Scale)
	}
	return nil
}

func finite(v float32) bool { return v-v == 0 }

// Value is the depth that a sample stands for.
func (d *Map) Value(sample uint16) float32 { return d.Offset + d.Scale*float32(sample) }

// Unpacker unpacks depth maps; it keeps its buffers, so one unpacker serves one goroutine.
type Unpacker struct {
	words    []byte
	samples  []uint16
	inflater inflater
}

// Unpack returns the map's Width × Height samples, row by row, valid until the next call.
// [ErrMap] is returned when the header breaks a bound or Data is not exactly that many samples of Bits bits.
func (u *Unpacker) Unpack(d *Map) ([]uint16, error) {
	if err := d.Validate(); err != nil {
		return nil, err
	}
	n := d.Width * d.Height
	u.words = slices.Grow(u.words[:0], 2*n)[:2*n]
	if err := u.inflater.inflate(u.words, d.Data); err != nil {
		return nil, fmt.Errorf("%w: %dx%d samples: %w", ErrMap, d.Width, d.Height, err)
	}
	if cap(u.samples) < n {
		u.samples = make([]uint16, n)
	}
	u.samples = u.samples[:n]
	used := uint16(0)
	for y := range d.Height {
		words, row := u.words[2*y*d.Width:2*(y+1)*d.Width], u.samples[y*d.Width:(y+1)*d.Width]
		left := uint16(0)
		for x := range row {
			left += binary.LittleEndian.Uint16(words[2*x:])
			row[x] = left
			used |= left
		}
	}
	if int(used) >= 1<<d.Bits {
		return nil, fmt.Errorf("%w: samples of more than %d bits", ErrMap, d.Bits)
	}
	return u.samples, nil
}
