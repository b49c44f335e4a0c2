package flow

import "fmt"

// Class is whose fault it is that a group has no answer to a frame.
type Class string

const (
	// ClassPicture: the frame's own. It can't be decoded, its shape is refused, or what there is to say of it fits into no message:
	// whoever sends it again gets the same answer.
	ClassPicture Class = "picture"
	// ClassLost: nobody of the group got through with it, in as many tries as a frame has; it may do better later, or elsewhere.
	ClassLost Class = "lost"
)

// Cause is what ended the last try of a frame that is lost.
type Cause string

const (
	CauseModel    Cause = "model"    // the model failed on it, or what it put out is not finite or out of its range
	CauseKilled   Cause = "killed"   // its worker was not heard of again
	CauseDeadline Cause = "deadline" // it was not through with the model in time
)

// Failure is what kind of error an answer's is.
type Failure struct {
	Class Class `msgpack:"cls" json:"class"`
	Cause Cause `msgpack:"cau,omitempty" json:"cause,omitempty"` // of what is lost
}

// validate returns [ErrMessage] when it is no kind of error. What a newer program may call them is a word all the same.
func (f Failure) validate() error {
	if len(f.Class) > maxClass || len(f.Cause) > maxClass {
		return fmt.Errorf("%w: an error of class %.16q and cause %.16q", ErrMessage, f.Class, f.Cause)
	}
	return nil
}

const maxClass = 32 // bytes of a class or a cause
