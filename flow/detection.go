package flow

import (
	"fmt"

	"github.com/spatial-flow/spatial-flow/flow/depthmap"
)

// Detection is one object found in a frame.
type Detection struct {
	Label   string     `msgpack:"l" json:"label"`
	ClassID int        `msgpack:"c" json:"class_id"`
	Score   float32    `msgpack:"s" json:"score"` // 0 to 1
	Box     [4]float32 `msgpack:"b" json:"bbox"`  // x1, y1, x2, y2 in pixels of the picture
	Depth   *BoxDepth  `msgpack:"d,omitempty" json:"depth,omitempty"`
}

// BoxDepth is how near a box is; the fuser fills it in from the depth map.
type BoxDepth struct {
	Value    float32       `msgpack:"v" json:"value"` // median of the map over the inner part of the box, in the map's unit
	Kind     depthmap.Kind `msgpack:"k" json:"kind"`
	Nearness float32       `msgpack:"n" json:"nearness"` // 0 (far) to 100 (near): percent of the source's stable range
}

// validDetections returns [ErrMessage] when a number is not finite or a score is not 0 to 1.
func validDetections(detections []Detection) error {
	for i, d := range detections {
		ok := d.Score >= 0 && d.Score <= 1
		for _, v := range d.Box {
			ok = ok && finite(v)
		}
		if d.Depth != nil {
			ok = ok && finite(d.Depth.Value) && finite(d.Depth.Nearness)
		}
		if err := validText("label", d.Label); err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("%w: detection %d: score %v, box %v", ErrMessage, i, d.Score, d.Box)
		}
	}
	return nil
}

func finite(v float32) bool { return v-v == 0 }
