package picture

import "errors"

var (
	// ErrBroken is returned when bytes are no picture, or one that is damaged or too large.
	ErrBroken = errors.New("broken picture")
	// ErrKind is returned when a picture is of a kind that is not read. The error says which, and what to do.
	ErrKind = errors.New("unsupported picture")
	// ErrLarge is returned when a picture would take too much memory. The error says what would help. It is an [ErrBroken] too, for
	// those who make no difference.
	ErrLarge error = tooLarge{}
	// ErrJPEG is returned when a JPEG is not to be decoded.
	ErrJPEG = errors.New("bad JPEG")
)

type tooLarge struct{}

func (tooLarge) Error() string        { return "picture too large" }
func (tooLarge) Is(target error) bool { return target == ErrBroken }
