package clock

import "time"

// Deadlines of live frames, which the fuser keeps and the producer reckons with.
const (
	// LeastDeadline is how long a live frame waits at least, from its first result on, for the rest of its plan.
	LeastDeadline = 500 * time.Millisecond
	// FirstDeadline is how long while it is not known how long a group of its plan takes. It is short, so that frames whose
	// group has no worker are seen; what comes after it is late, and tells how long the group takes.
	FirstDeadline = 2 * time.Second
	// MostDeadline bounds it.
	MostDeadline = time.Minute
	// DeadlineTimes is how much longer than the slowest group takes on average a frame waits.
	DeadlineTimes = 2
)
