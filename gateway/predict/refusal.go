package predict

import "fmt"

// Reasons of refusals, for programs.
const (
	reasonMalformed = "malformed" // no picture, or a request that is none
	reasonTooLarge  = "too_large"
	reasonTooSlow   = "too_slow"
	reasonPicture   = "picture" // a picture, which can't be looked at
	reasonFull      = "full"
	reasonNoWorker  = "no_worker"
	reasonLost      = "lost"    // a group gave it up
	reasonMissing   = "missing" // a group did not answer in time
	reasonStopping  = "stopping"
	reasonGone      = "gone" // the caller
)

// Refusal is an answer that is none: it goes to the caller as it is.
type Refusal struct {
	Code   int    // of HTTP
	Reason string // a word for programs
	Text   string
}

func (r Refusal) Error() string { return r.Text }

func refused(code int, reason, format string, args ...any) error {
	return Refusal{code, reason, fmt.Sprintf(format, args...)}
}
