package flow

import (
	"encoding/json"
	"time"
)

// SceneJSON is a scene as people and programs read it: in the gateway's answers and in scene files.
type SceneJSON struct {
	Frame      FrameID           `json:"frame"`
	Captured   time.Time         `json:"captured"` // RFC 3339, UTC
	Size       [2]int            `json:"size"`     // width, height of the picture in pixels
	Plan       []string          `json:"plan"`
	Detections []Detection       `json:"detections"`
	Outcome    Outcome           `json:"outcome"`
	Missing    []string          `json:"missing"`
	Errors     map[string]string `json:"errors,omitempty"` // by group
	Held       *Held             `json:"held"`             // null: the depth map is the frame's own
	Ledger     []Hop             `json:"ledger"`
}

// JSON is the scene without its depth map.
func (s *Scene) JSON() SceneJSON {
	return SceneJSON{
		Frame: s.ID(), Captured: time.Unix(0, s.Captured).UTC(), Size: [2]int{s.Width, s.Height},
		Plan: notNil(s.Plan), Detections: notNil(s.Detections), Outcome: s.Outcome, Missing: notNil(s.Missing),
		Errors: s.Errors, Held: s.Held, Ledger: notNil(s.Ledger),
	}
}

func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// AppendLine appends the scene as one line of JSON.
func (s *Scene) AppendLine(dst []byte) ([]byte, error) {
	data, err := json.Marshal(s.JSON())
	if err != nil {
		return nil, err
	}
	return append(append(dst, data...), '\n'), nil
}
