package flow

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
	Value    float32   `msgpack:"v" json:"value"` // median of the map over the inner part of the box, in the map's unit
	Kind     DepthKind `msgpack:"k" json:"kind"`
	Nearness float32   `msgpack:"n" json:"nearness"` // 0 (far) to 100 (near): percent of the source's stable range
}
