package coded

import "time"

// Decode is which units of a camera are decoded.
type Decode string

// What --source …#decode= may say.
const (
	DecodeAuto Decode = "auto" // all, and key frames only while there is not time for all
	DecodeAll  Decode = "all"
	DecodeKeys Decode = "keys" // key frames only
)

// mostAge is how long a unit may have waited for the decoder. One that has waited longer shows that there is not time for all.
const mostAge = time.Second

// Gate says which units of a camera go to its decoder. It is for one goroutine.
type Gate struct {
	Decode Decode
	Load   *Load

	waiting bool // for a key frame: a unit before was passed over
}

// Takes says whether a unit is decoded.
func (g *Gate) Takes(u Unit, now time.Time) bool {
	keys, late := g.KeysOnly(now), now.Sub(u.Arrived) > mostAge
	if late {
		g.Load.Late(now)
		keys = g.KeysOnly(now)
	}
	switch {
	case !u.Key && g.waiting:
		return false
	case keys && (!u.Key || late):
		g.waiting = true // what refers to this one can't be decoded
		return false
	}
	g.waiting = false
	return true
}

// KeysOnly says whether only key frames are decoded now.
func (g *Gate) KeysOnly(now time.Time) bool {
	return g.Decode == DecodeKeys || g.Decode == DecodeAuto && g.Load.KeysOnly(now)
}
