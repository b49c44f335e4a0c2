package workers

import "errors"

// ErrConfig is returned when the settings can't be run.
var ErrConfig = errors.New("worker settings")
