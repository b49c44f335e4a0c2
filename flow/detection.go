package flow

import (
	"fmt"

	"github.com/spatial-flow/spatial-flow/client/api"
)

type (
	Detection = api.Detection // one object found in a frame
	BoxDepth  = api.BoxDepth  // how near a box is; the fuser fills it in from the depth map
)

// IoU is the intersection over the union of two boxes x1, y1, x2, y2: 0 when they are apart or have no area. F is what it is
// computed in: float32 as the authors of the models do, float64 as COCO's evaluation.
func IoU[F float32 | float64](a, b [4]float32) F {
	width, height := F(min(a[2], b[2]))-F(max(a[0], b[0])), F(min(a[3], b[3]))-F(max(a[1], b[1]))
	if width <= 0 || height <= 0 {
		return 0
	}
	inner := width * height
	return inner / (area[F](a) + area[F](b) - inner)
}

func area[F float32 | float64](box [4]float32) F { return F(box[2]-box[0]) * F(box[3]-box[1]) }

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
