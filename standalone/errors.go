package standalone

import "errors"

var (
	// ErrSceneFile is returned when a scene file is no scene file.
	ErrSceneFile = errors.New("scene file")
	// ErrScenes is returned when stored scenes did not reach the scene file or the evaluation.
	ErrScenes = errors.New("scenes missing")
	// ErrNoModel is returned when neither group has a model.
	ErrNoModel = errors.New("no model")
	// ErrUsage is returned when flags contradict each other.
	ErrUsage = errors.New("usage")
	// ErrSource is returned when a source failed; the others were carried on.
	ErrSource = errors.New("a source failed")
	// ErrPredict is returned when a picture could not be looked at.
	ErrPredict = errors.New("not every picture could be looked at")
)
