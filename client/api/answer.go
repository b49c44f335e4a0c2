package api

import "github.com/spatial-flow/spatial-flow/client/depthmap"

// Prediction is the answer of POST /predict.
type Prediction struct {
	Detections []PredictedBox `json:"detections"`
	// DepthMap is a grey JPEG, in base64: the map of this picture from its least value (black) to its greatest (white),
	// at the picture's size, or, with ?depth_size=map, at its own. Null when no depth group is on.
	DepthMap []byte `json:"depth_map"`
}

// PredictedBox is one detection. DepthScore is the median of the depth map's values over the whole box, clipped to the
// picture: for relative maps a number without a unit. Null when no depth group is on.
type PredictedBox struct {
	Box        [4]float32 `json:"bbox"` // x1, y1, x2, y2 in pixels of the picture that was posted
	Score      float32    `json:"conf"`
	ClassID    int        `json:"class_id"`
	Label      string     `json:"label"`
	DepthScore *float32   `json:"depth_score"`
}

// PictureScene is the answer of POST /api/v1/predict: the scene of the picture that was posted, with its boxes in pixels of that
// picture.
type PictureScene struct {
	Scene
	Depth *PackedDepth `json:"depth"` // null: none was asked for, or no depth group is on
}

// PackedDepth is a depth map in JSON.
type PackedDepth struct {
	depthmap.Map
	Range  *depthmap.Range `json:"range"` // that its nearness is told by; null: not known
	Packed []byte          `json:"data"`  // in base64; the map's Data, once the answer was read
}
