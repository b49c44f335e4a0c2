//go:build long

package standalone

const (
	long       = true
	filmFrames = 795 // all that pedestrians.avi has
)
