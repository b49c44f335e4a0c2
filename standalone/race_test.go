//go:build race

package standalone

// filmFrames is how many frames of pedestrians.avi tests take: the race detector, which slows them down, sees no more in
// more of them. Without it they take all.
const filmFrames = 150
