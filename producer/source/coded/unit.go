// Package coded is what lies between a camera and a decoder: access units, how they are handed on, and which of them are decoded
// when there is not time for all.
package coded

import "time"

// Codec is how the pictures of a stream are coded.
type Codec string

// Codecs that cameras send.
const (
	H264 Codec = "H.264"
	H265 Codec = "H.265"
	JPEG Codec = "MJPEG"
)

// Unit is an access unit: what one picture is decoded from.
type Unit struct {
	// Data is a whole JPEG, or, in H.264 and H.265, the unit's NAL units in the form of Annex B; before a key frame its
	// parameter sets.
	Data    []byte
	PTS     time.Duration // when it is to be shown, since the first; never far from that of the unit before
	Arrived time.Time
	Key     bool // needs no other unit to be decoded
	// Width and Height are what the newest parameter sets say, in pixels; 0: not known yet.
	Width, Height int
}
