package natsconfig

import "errors"

// ErrUsage is returned when the flags make no configuration.
var ErrUsage = errors.New("usage")
