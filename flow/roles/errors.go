package roles

import "errors"

// ErrRole is returned when a role can't be made: its name is taken, or a source is none.
var ErrRole = errors.New("role")
