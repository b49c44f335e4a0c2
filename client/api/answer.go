package api

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
