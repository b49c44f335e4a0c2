package live

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
)

// MaxWatchBytes bounds a viewer's message.
const MaxWatchBytes = 4 << 10

// Watch is what a viewer sends, as JSON text: first of all, and again whenever it wants other sources.
type Watch struct {
	// Sources names what to watch; an empty list is every source there is or will be, up to the limit.
	// A source that is not known yet is shown once it appears.
	Sources []string `json:"sources"`
}

// parseWatch reads a viewer's message. [ErrWatch] is returned when it is none or names more than limit sources.
func parseWatch(data []byte, limit int) (Watch, error) {
	var watch Watch
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&watch); err != nil {
		return watch, fmt.Errorf("%w: %w", ErrWatch, err)
	}
	if watch.Sources == nil || decoder.More() {
		return watch, fmt.Errorf(`%w: want {"sources":["name"]}`, ErrWatch)
	}
	slices.Sort(watch.Sources)
	watch.Sources = slices.Compact(watch.Sources)
	if len(watch.Sources) > limit {
		return watch, fmt.Errorf("%w: %d sources, at most %d", ErrWatch, len(watch.Sources), limit)
	}
	for _, source := range watch.Sources {
		if err := flow.ValidToken("source", source); err != nil {
			return watch, fmt.Errorf("%w: %w", ErrWatch, err)
		}
	}
	return watch, nil
}

// SceneHeader is the JSON header of a scene on the websocket. The binary message is
//
//	uint32, little-endian: length of the header
//	header
//	PictureBytes of JPEG
//	Depth.Bytes of zlib data, when Depth is not null
//
// Within a source, messages never go backwards: each has a later frame than the one before.
type SceneHeader struct {
	Type string `json:"type"` // "scene"
	flow.SceneJSON
	Mode flow.Mode `json:"mode"`
	// Depth describes the map at the message's end; null when the viewer has the newest map already.
	Depth        *DepthHeader `json:"depth"`
	PictureBytes int          `json:"picture_bytes"` // 0: the frame is gone, or had no picture
	// LatencyMS is from capture to sending, by the clock of this host; null for a scene that is not fresh, as
	// the newest scene of a source that a viewer has only begun to watch.
	LatencyMS *float64 `json:"latency_ms"`
	Dropped   uint64   `json:"dropped"` // scenes that this viewer was too slow for, since it connected
}

// DepthHeader describes a depth map. Its data is zlib over Width × Height samples as 16-bit little-endian words,
// row by row: a row's first sample as it is, then each sample's difference to its left neighbour modulo 2^16.
// A sample stands for Offset + Scale × sample.
type DepthHeader struct {
	*depthmap.Map
	Seq   uint64          `json:"seq"`   // of the frame that the map belongs to: this one or, when its scene was overtaken, an earlier one
	Bytes int             `json:"bytes"` // length of the data
	Range *depthmap.Range `json:"range"` // the source's stable range, for colours; null: not known
}

// StateGone is the state of a source that was running when it was last heard of, more than 3 s ago.
const StateGone flow.State = "gone"

// SourceInfo is what is known of a source.
type SourceInfo struct {
	Source          string        `json:"source"`
	Mode            flow.Mode     `json:"mode"`
	State           flow.State    `json:"state"`
	Reason          string        `json:"reason,omitempty"`  // why it failed
	Note            string        `json:"note,omitempty"`    // what of it is not carried, as files of a folder that are no pictures
	Waiting         string        `json:"waiting,omitempty"` // for how long its frames have waited, and for what; empty: it goes on
	Session         string        `json:"session"`
	Seq             uint64        `json:"seq"`               // of the newest scene; 0: none yet
	Frames          uint64        `json:"frames"`            // of the whole source; 0: not known
	Account         *flow.Account `json:"account"`           // null: its producer was not heard
	ScenesPerSecond float64       `json:"scenes_per_second"` // over the last seconds
}

// Status is sent to every viewer, as JSON text, when it connects and then once a second.
type Status struct {
	Type    string       `json:"type"` // "status"
	Sources []SourceInfo `json:"sources"`
}
