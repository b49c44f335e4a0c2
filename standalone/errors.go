package standalone

import "errors"

var (
	// ErrNoModel is returned when neither group has a model.
	ErrNoModel = errors.New("no model")
	// ErrUsage is returned when flags contradict each other.
	ErrUsage = errors.New("usage")
	// ErrPredict is returned when a picture could not be looked at.
	ErrPredict = errors.New("not every picture could be looked at")
)
