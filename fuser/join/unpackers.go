package join

import (
	"runtime"

	"github.com/spatial-flow/spatial-flow/flow/depthmap"
)

// Unpackers are the unpackers of a fuser, one for each core: no more maps are unpacked at once, and their buffers, a few
// bytes for each sample of the largest map, are kept. It is safe for concurrent use.
type Unpackers chan *depthmap.Unpacker

// NewUnpackers makes them.
func NewUnpackers() Unpackers {
	u := make(Unpackers, runtime.GOMAXPROCS(0))
	for range cap(u) {
		u <- new(depthmap.Unpacker)
	}
	return u
}

// Borrow waits for an unpacker, which is given back by [Unpackers.Return].
func (u Unpackers) Borrow() *depthmap.Unpacker { return <-u }

// Return gives an unpacker back.
func (u Unpackers) Return(one *depthmap.Unpacker) { u <- one }
