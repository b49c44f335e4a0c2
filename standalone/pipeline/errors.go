package pipeline

import "errors"

var (
	// ErrSceneFile is returned when a scene file is no scene file.
	ErrSceneFile = errors.New("scene file")
	// ErrScenes is returned when stored scenes did not reach the scene file or the sink.
	ErrScenes = errors.New("scenes missing")
	// ErrSource is returned when a source failed; the others were carried on.
	ErrSource = errors.New("a source failed")
)
