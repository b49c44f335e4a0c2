package depthmap

import "errors"

// ErrMap is returned when a depth map can't be packed or unpacked.
var ErrMap = errors.New("bad depth map")
