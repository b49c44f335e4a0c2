package live

import "errors"

var (
	// ErrFull is returned when there are as many viewers as there may be.
	ErrFull = errors.New("too many viewers")
	// ErrUpgrade is returned when a request does not ask for a websocket.
	ErrUpgrade = errors.New("a websocket is spoken here: ask with Upgrade: websocket")
	// ErrWatch is returned when a viewer's message is not a list of sources that it may watch.
	ErrWatch = errors.New("bad watch message")
	// ErrNoWatch is returned when a viewer did not say in time what it wants to watch.
	ErrNoWatch = errors.New("no watch message")
	// ErrFrame is returned when a stored frame is not the one that its message ID names.
	ErrFrame = errors.New("bad frame")
)
