package api

import (
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/spatial-flow/spatial-flow/client/depthmap"
)

// Bounds of what a reader takes in, checked before it is believed.
const (
	MaxHeader     = 16 << 20 // bytes of a scene's header, of a scene without picture, and of a status
	MaxPrediction = 32 << 20 // bytes of the answer of POST /api/v1/predict
	maxElements   = 1 << 18  // values in one JSON text
	maxDepth      = 64       // of its nesting
	maxSide       = 65_535   // pixels of a picture
	maxName       = 64       // bytes of a source's, and of a session's
)

// SceneHeader is the JSON header of a scene on the websocket. The binary message is
//
//	uint32, little-endian: length of the header
//	header
//	PictureBytes of JPEG
//	Depth.Bytes of zlib data, when Depth is not null
//
// Within a session of a source, messages never go backwards: each has a later frame than the one before,
// or the same when its picture came after it.
type SceneHeader struct {
	Type string `json:"type"` // "scene"
	Scene
	Mode Mode `json:"mode"`
	// Depth describes the map at the message's end; null when the viewer has the newest map already.
	Depth        *DepthHeader `json:"depth"`
	PictureBytes int          `json:"picture_bytes"` // 0: the frame is gone, or had no picture
	// LatencyMS is from capture to sending, by the clock of the gateway's host; null for a scene that is not fresh, as
	// the newest scene of a source that a viewer has only begun to watch.
	LatencyMS *float64 `json:"latency_ms"`
	Dropped   uint64   `json:"dropped"` // scenes that this viewer was too slow for, since it connected
}

// DepthHeader describes a depth map, and holds its data once the message was read.
type DepthHeader struct {
	depthmap.Map
	Seq   uint64          `json:"seq"`   // of the frame that the map belongs to: this one or, when its scene was overtaken, an earlier one
	Bytes int             `json:"bytes"` // length of the data
	Range *depthmap.Range `json:"range"` // the source's stable range, for colours; null: not known
}

// Message is a scene with what comes along.
type Message struct {
	SceneHeader
	Picture []byte // JPEG; empty: the frame is gone, or had no picture
}

// ParseMessage takes a binary message of the websocket apart; the picture and the depth map's data are parts of it.
// [ErrMessage] is returned when it is none: whatever it claims, no more is allocated than a small multiple of its header.
func ParseMessage(data []byte) (*Message, error) {
	if len(data) < 4 {
		return nil, fmt.Errorf("%w: %d bytes", ErrMessage, len(data))
	}
	n, rest := binary.LittleEndian.Uint32(data), data[4:]
	if n > MaxHeader || uint64(n) > uint64(len(rest)) {
		return nil, fmt.Errorf("%w: a header of %d bytes in %d", ErrMessage, n, len(rest))
	}
	m := new(Message)
	if err := unmarshal(rest[:n], &m.SceneHeader); err != nil {
		return nil, err
	}
	rest = rest[n:]
	if m.Type != "scene" {
		return nil, fmt.Errorf("%w: type %.20q, want scene", ErrMessage, m.Type)
	}
	if err := m.validate(); err != nil {
		return nil, err
	}
	depth := 0
	if m.Depth != nil {
		if err := m.Depth.Validate(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMessage, err)
		}
		depth = m.Depth.Bytes
	}
	if m.PictureBytes < 0 || depth < 0 || m.PictureBytes > len(rest) || depth != len(rest)-m.PictureBytes {
		return nil, fmt.Errorf("%w: %d bytes of picture and %d of depth in %d", ErrMessage, m.PictureBytes, depth, len(rest))
	}
	m.Picture = rest[:m.PictureBytes:m.PictureBytes]
	if m.Depth != nil {
		m.Depth.Data = rest[m.PictureBytes:]
	}
	return m, nil
}

// ParseStatus reads a text message of the websocket, or an answer of GET /api/v1/sources. [ErrMessage] is returned when it
// is none.
func ParseStatus(data []byte) (*Status, error) {
	status := new(Status)
	if err := unmarshal(data, status); err != nil {
		return nil, err
	}
	if status.Type != "status" {
		return nil, fmt.Errorf("%w: type %.20q, want status", ErrMessage, status.Type)
	}
	return status, nil
}

// ParseScene reads an answer of GET /api/v1/sources/{source}/scene, or a line of a scene file. [ErrMessage] is returned when it
// is none.
func ParseScene(data []byte) (*Scene, error) {
	scene := new(Scene)
	if err := unmarshal(data, scene); err != nil {
		return nil, err
	}
	if err := scene.validate(); err != nil {
		return nil, err
	}
	return scene, nil
}

func (s *Scene) validate() error {
	if w, h := s.Size[0], s.Size[1]; w < 0 || h < 0 || w > maxSide || h > maxSide {
		return fmt.Errorf("%w: a picture of %dx%d", ErrMessage, w, h)
	}
	if f := s.Frame; f.Source == "" || len(f.Source) > maxName || len(f.Session) > maxName || f.Seq == 0 {
		return fmt.Errorf("%w: of the frame %.200q", ErrMessage, f)
	}
	return nil
}

// ParsePictureScene reads an answer of POST /api/v1/predict. [ErrMessage] is returned when it is none.
func ParsePictureScene(data []byte) (*PictureScene, error) {
	scene := new(PictureScene)
	if err := unmarshal(data, scene); err != nil {
		return nil, err
	}
	if err := scene.validate(); err != nil {
		return nil, err
	}
	if d := scene.Depth; d != nil {
		if err := d.Validate(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMessage, err)
		}
		d.Data = d.Packed
	}
	return scene, nil
}

// unmarshal reads JSON. What a value takes in memory is many times what "{}," takes here, so values are counted first.
func unmarshal(data []byte, into any) error {
	if err := count(data); err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%w: %w", ErrMessage, err)
	}
	return nil
}

// count returns [ErrMessage] when JSON holds too many values, or values in values. It may be no JSON at all.
func count(data []byte) error {
	elements, depth := 0, 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			for i++; i < len(data) && data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
		case '[', '{':
			depth++
			elements++
		case ']', '}':
			depth--
		case ',':
			elements++
		}
		if elements > maxElements || depth > maxDepth {
			return fmt.Errorf("%w: more than %d values, or more than %d deep", ErrMessage, maxElements, maxDepth)
		}
	}
	return nil
}
