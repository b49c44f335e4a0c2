package live

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/spatial-flow/spatial-flow/client/api"
)

// The header of a scene is a [api.SceneHeader] of which the first keys are the same for all viewers and encoded once: its head.
// What differs from viewer to viewer is written behind them: its tail.

// encodeHead is the header without its last keys, and without its closing brace.
func (s *shown) encodeHead() ([]byte, error) {
	data, err := json.Marshal(struct {
		Type string `json:"type"`
		api.Scene
		Mode api.Mode `json:"mode"`
	}{"scene", s.json, s.scene.Mode})
	if err != nil {
		return nil, fmt.Errorf("encode the header of %s: %w", s.json.Frame, err)
	}
	return data[:len(data)-1], nil
}

// encodeHeader is the depth map's part of a header.
func (d *depthMap) encodeHeader() ([]byte, error) {
	data, err := json.Marshal(api.DepthHeader{Map: *d.packed, Seq: d.seq, Bytes: len(d.packed.Data), Range: d.stable})
	if err != nil {
		return nil, fmt.Errorf("encode the header of a depth map: %w", err)
	}
	return data, nil
}

// latency is the time since the scene's capture.
func (s *shown) latency() time.Duration { return max(time.Since(s.json.Captured), 0) }

// appendTail appends the last keys of a header, which the parcel is sent with.
func (p parcel) appendTail(dst []byte, pictureBytes int, depth *depthMap, latency time.Duration) ([]byte, error) {
	dst = append(dst, `,"depth":`...)
	if depth == nil {
		dst = append(dst, "null"...)
	} else {
		header, err := depth.header()
		if err != nil {
			return nil, err
		}
		dst = append(dst, header...)
	}
	dst = strconv.AppendInt(append(dst, `,"picture_bytes":`...), int64(pictureBytes), 10)
	dst = append(dst, `,"latency_ms":`...)
	if p.stale {
		dst = append(dst, "null"...)
	} else {
		dst = strconv.AppendFloat(dst, float64(latency.Microseconds())/1000, 'f', -1, 64)
	}
	dst = strconv.AppendUint(append(dst, `,"dropped":`...), p.dropped, 10)
	return append(dst, '}'), nil
}

// headerLength is what a message begins with.
func headerLength(head, tail []byte) []byte {
	return binary.LittleEndian.AppendUint32(nil, uint32(len(head)+len(tail)))
}
