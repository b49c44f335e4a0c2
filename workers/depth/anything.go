package depth

import (
	"errors"
	"fmt"

	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/workers/engine"
	"github.com/spatial-flow/spatial-flow/workers/model"
)

// depthAnything is V1 and V2, relative.
var depthAnything = family{
	name:      "depth-anything",
	supports:  "Depth Anything V1 and V2, float32 `pixel_values` [1,3,H,W] to `predicted_depth` [1,H,W]",
	recognise: recogniseDepthAnything,
}

// patch is the side in pixels of what the network's encoder looks at: inputs are multiples of it
// (Depth-Anything-V2, depth_anything_v2/dpt.py: ensure_multiple_of=14).
const patch = 14

func recogniseDepthAnything(graph engine.Graph, settings Settings) (model.Input, depthmap.Kind, error) {
	if len(graph.Inputs) != 1 || len(graph.Outputs) != 1 {
		return model.Input{}, "", fmt.Errorf("it has %d inputs and %d outputs", len(graph.Inputs), len(graph.Outputs))
	}
	in, out := graph.Inputs[0], graph.Outputs[0]
	switch {
	case in.Name != "pixel_values" || out.Name != "predicted_depth":
		return model.Input{}, "", fmt.Errorf("its input is called %s, its output %s", in.Name, out.Name)
	case !in.Float || !out.Float:
		return model.Input{}, "", errors.New("its input or output is no float32 (a half-precision export?)")
	case len(in.Shape) != 4 || in.Shape[1] != 3 && in.Shape[1] > 0 || in.Shape[0] > 1 || (in.Shape[2] > 0) != (in.Shape[3] > 0) || len(out.Shape) != 3:
		return model.Input{}, "", fmt.Errorf("its input is %v, its output %v", in.Shape, out.Shape)
	case in.Shape[2] > 0 && (in.Shape[2]%patch != 0 || in.Shape[3]%patch != 0):
		return model.Input{}, "", fmt.Errorf("its input is %v, whose sides are no multiples of %d (a DPT or MiDaS model?)", in.Shape, patch)
	}
	input := model.Input{Name: in.Name, Size: settings.Size, Multiple: patch, Resize: model.LowerBound, Scale: model.ImageNet}
	if in.Shape[2] > 0 {
		input.Height, input.Width, input.Resize = int(in.Shape[2]), int(in.Shape[3]), model.Stretch
	}
	return input, depthmap.InverseRelative, nil
}
