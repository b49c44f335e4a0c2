package join

import "errors"

// ErrFull is returned when there is no room for a result that is not of the next frame of its session: give it back
// and take it again later.
var ErrFull = errors.New("no room")
