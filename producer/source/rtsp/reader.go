package rtsp

import (
	"fmt"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"
	"github.com/pion/rtp"

	"github.com/spatial-flow/spatial-flow/producer/source/coded"
	"github.com/spatial-flow/spatial-flow/producer/source/reason"
)

type videoFormat = format.Format

func readable(f videoFormat) bool {
	switch f.(type) {
	case *format.H264, *format.H265, *format.MJPEG:
		return true
	}
	return false
}

// reader makes access units of packets, which it is given one after the other.
func (c *Client) reader(f videoFormat) (func(*rtp.Packet), error) {
	var take func(*rtp.Packet) (data []byte, key, ok bool) // not ok: more packets are needed, or they make no unit
	size := new(parameters)
	switch f := f.(type) {
	case *format.H264:
		decoder, err := f.CreateDecoder()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", reason.ErrCodec, err)
		}
		c.info.Codec = coded.H264
		size.h264([][]byte{f.SPS, f.PPS})
		take = func(p *rtp.Packet) ([]byte, bool, bool) {
			nalus, err := decoder.Decode(p)
			if err != nil || len(nalus) == 0 {
				return nil, false, false
			}
			key := size.h264(nalus)
			return size.join(nalus, key), key, true
		}
	case *format.H265:
		decoder, err := f.CreateDecoder()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", reason.ErrCodec, err)
		}
		c.info.Codec = coded.H265
		size.h265([][]byte{f.VPS, f.SPS, f.PPS})
		take = func(p *rtp.Packet) ([]byte, bool, bool) {
			nalus, err := decoder.Decode(p)
			if err != nil || len(nalus) == 0 {
				return nil, false, false
			}
			key := size.h265(nalus)
			return size.join(nalus, key), key, true
		}
	case *format.MJPEG:
		decoder, err := f.CreateDecoder()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", reason.ErrCodec, err)
		}
		c.info.Codec = coded.JPEG
		take = func(p *rtp.Packet) ([]byte, bool, bool) {
			data, err := decoder.Decode(p)
			return data, true, err == nil
		}
	}
	c.info.Width, c.info.Height, c.info.FPS = size.width, size.height, size.fps
	clock := coded.Clock{Rate: f.ClockRate()}
	waiting := true // for a key frame: without it a unit can't be decoded
	return func(p *rtp.Packet) {
		now := time.Now()
		c.heard.Store(now.UnixNano())
		data, key, ok := take(p)
		if c.lost.Swap(false) {
			waiting = true // what refers to a picture that is not whole is not whole either
		}
		if !ok {
			return
		}
		pts := clock.Time(p.Timestamp)
		if waiting = waiting && !key; waiting {
			c.keyless.Store(true)
			return
		}
		c.whole.Store(now.UnixNano())
		c.keyless.Store(false)
		if !c.offer(coded.Unit{Data: data, PTS: pts, Arrived: now, Key: key, Width: size.width, Height: size.height}) {
			c.overflown.Add(1)
			waiting = true
		}
	}, nil
}

// parameters are the newest parameter sets of a stream.
type parameters struct {
	vps, sps, pps []byte
	width, height int
	fps           float64
	h265coded     bool
}

// h264 notes the parameter sets among the NAL units, and says whether they make a key frame.
func (s *parameters) h264(nalus [][]byte) (key bool) {
	for _, nalu := range nalus {
		if len(nalu) == 0 {
			continue
		}
		switch h264.NALUType(nalu[0] & 0x1f) {
		case h264.NALUTypeSPS:
			var sps h264.SPS
			if sps.Unmarshal(nalu) == nil {
				s.sps, s.width, s.height, s.fps = nalu, sps.Width(), sps.Height(), sps.FPS()
			}
			key = true // of a stream that begins anew without IDR pictures
		case h264.NALUTypePPS:
			s.pps = nalu
		case h264.NALUTypeIDR:
			key = true
		}
	}
	return key
}

// h265 does the same.
func (s *parameters) h265(nalus [][]byte) (key bool) {
	s.h265coded = true
	for _, nalu := range nalus {
		if len(nalu) == 0 {
			continue
		}
		switch h265.NALUType(nalu[0] >> 1 & 0x3f) {
		case h265.NALUType_VPS_NUT:
			s.vps = nalu
		case h265.NALUType_SPS_NUT:
			var sps h265.SPS
			if sps.Unmarshal(nalu) == nil {
				s.sps, s.width, s.height, s.fps = nalu, sps.Width(), sps.Height(), sps.FPS()
			}
		case h265.NALUType_PPS_NUT:
			s.pps = nalu
		case h265.NALUType_IDR_W_RADL, h265.NALUType_IDR_N_LP, h265.NALUType_CRA_NUT:
			key = true
		}
	}
	return key
}

// join is Annex B of the NAL units: before a key frame the parameter sets, which many cameras send only once.
func (s *parameters) join(nalus [][]byte, key bool) []byte {
	sets := [][]byte{s.vps, s.sps, s.pps}
	if !key || s.own(nalus) {
		sets = nil
	}
	var data []byte
	for _, nalu := range append(sets, nalus...) {
		if len(nalu) > 0 {
			data = append(append(data, 0, 0, 0, 1), nalu...)
		}
	}
	return data
}

// own says whether the NAL units bring their parameter sets themselves.
func (s *parameters) own(nalus [][]byte) bool {
	for _, nalu := range nalus {
		if len(nalu) == 0 {
			continue
		}
		if s.h265coded && h265.NALUType(nalu[0]>>1&0x3f) == h265.NALUType_SPS_NUT || !s.h265coded && h264.NALUType(nalu[0]&0x1f) == h264.NALUTypeSPS {
			return true
		}
	}
	return false
}
