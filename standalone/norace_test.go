//go:build !race

package standalone

const filmFrames = 795 // all that pedestrians.avi has
