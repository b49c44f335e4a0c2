package flow

import (
	"fmt"

	"github.com/spatial-flow/spatial-flow/client/api"
)

type (
	Detection = api.Detection // one object found in a frame
	BoxDepth  = api.BoxDepth  // how near a box is; the fuser fills it in from the depth map
)

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
