package rtsptest

import (
	"testing"

	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/pion/rtp"
)

// format is how the clip is described. H.264 and H.265 send their parameter sets in the stream.
func (c Clip) format() format.Format {
	switch c.Codec {
	case "hevc":
		return &format.H265{PayloadTyp: 96}
	case "mjpeg":
		return new(format.MJPEG)
	}
	return &format.H264{PayloadTyp: 96, PacketizationMode: 1}
}

// encoder makes packets of access units.
func (c Clip) encoder(t testing.TB) func(unit [][]byte) []*rtp.Packet {
	must := func(packets []*rtp.Packet, err error) []*rtp.Packet {
		if err != nil {
			t.Errorf("packets of a clip: %v", err)
		}
		return packets
	}
	switch f := c.format().(type) {
	case *format.H265:
		e, err := f.CreateEncoder()
		if err != nil {
			t.Error(err)
		}
		return func(unit [][]byte) []*rtp.Packet { return must(e.Encode(unit)) }
	case *format.MJPEG:
		e, err := f.CreateEncoder()
		if err != nil {
			t.Error(err)
		}
		return func(unit [][]byte) []*rtp.Packet { return must(e.Encode(unit[0])) }
	case *format.H264:
		e, err := f.CreateEncoder()
		if err != nil {
			t.Error(err)
		}
		return func(unit [][]byte) []*rtp.Packet { return must(e.Encode(unit)) }
	}
	return nil
}
