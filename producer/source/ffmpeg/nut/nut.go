// Package nut reads and writes what of the NUT container is needed to pass one video stream through a pipe, each picture
// with its time stamp: https://ffmpeg.org/~michael/nut.txt
package nut

import (
	"errors"
	"fmt"
	"math/bits"
	"time"
)

// ErrFormat is returned when what is read is no NUT stream, or one that is damaged or cut short.
var ErrFormat = errors.New("no NUT stream")

// Startcodes of the packets that are no frames.
const (
	startMain      = 0x4e4d7a561f5f04ad
	startStream    = 0x4e5311405bf2f9db
	startSyncpoint = 0x4e4be4adeeca4569
)

// magic begins a file.
const magic = "nut/multimedia container\x00"

// Flags of a frame.
const (
	flagKey       = 1 << 0
	flagCodedPTS  = 1 << 3
	flagStreamID  = 1 << 4
	flagSizeMSB   = 1 << 5
	flagChecksum  = 1 << 6
	flagReserved  = 1 << 7
	flagSideData  = 1 << 8
	flagHeaderIdx = 1 << 10
	flagMatchTime = 1 << 11
	flagCoded     = 1 << 12
	flagInvalid   = 1 << 13
)

// Stream is what the headers say.
type Stream struct {
	Width, Height int     // pixels
	Codec         [4]byte // for example "H264"
}

// Frame is what comes before a frame's bytes.
type Frame struct {
	Time time.Duration
	Size int // bytes
	Key  bool
}

// timeBase is the unit of time stamps, in seconds.
type timeBase struct{ num, den uint64 }

// duration is so many units. Its seconds and the rest of them are taken apart, so that nothing overflows in a film's life.
func (b timeBase) duration(units int64) (time.Duration, error) {
	negative := units < 0
	n := uint64(units)
	if negative {
		n = -n
	}
	hi, lo := bits.Mul64(n, b.num)
	hi2, ns := bits.Mul64(lo, uint64(time.Second))
	if hi != 0 || hi2 >= b.den {
		return 0, fmt.Errorf("%w: time stamp %d of %d/%d s", ErrFormat, units, b.num, b.den)
	}
	q, _ := bits.Div64(hi2, ns, b.den)
	if q > 1<<63-1 {
		return 0, fmt.Errorf("%w: time stamp %d of %d/%d s", ErrFormat, units, b.num, b.den)
	}
	if negative {
		return -time.Duration(q), nil
	}
	return time.Duration(q), nil
}
