package join

import "errors"

// ErrFull is returned when the joiner has no room for a result that is not the next of its session: give it back
// and take it again later.
var ErrFull = errors.New("joiner is full")
