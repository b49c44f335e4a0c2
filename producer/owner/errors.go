package owner

import "errors"

var (
	// ErrTaken is what a source fails with when its name belongs to another producer, and it can't stand by for it.
	ErrTaken = errors.New("name is taken")

	// errShed ends what a producer does for a name that falls to another.
	errShed = errors.New("another producer's share")
)
