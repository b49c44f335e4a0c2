//go:build !long

package standalone

// long tells whether tests take minutes, have the machine to themselves and judge times: `make test-long`.
const long = false

// filmFrames is how many frames of pedestrians.avi tests take: as many as show three of those whose boxes are known.
const filmFrames = 110
