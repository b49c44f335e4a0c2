package source

import (
	"errors"

	"github.com/spatial-flow/spatial-flow/flow/picture"
	"github.com/spatial-flow/spatial-flow/producer/source/reason"
)

var (
	// ErrConfig is returned when a setting is out of its range.
	ErrConfig = errors.New("bad setting")
	// ErrName is returned when a source is given a name that is no name, or one that is taken.
	ErrName = errors.New("bad source name")
	// ErrUnsupported is returned when a URI is of a kind that can't be read yet.
	ErrUnsupported = errors.New("not supported yet")
	// ErrOpen is returned when a source can't be opened.
	ErrOpen = errors.New("can't be opened")
	// ErrNoPictures is returned when a folder holds no pictures.
	ErrNoPictures = errors.New("no pictures")

	// ErrFilm is returned when a film fails, or ends before its time.
	ErrFilm = errors.New("film")
	// ErrCorrupt is returned at the end of a film with broken packets, where that is not to be passed over.
	ErrCorrupt = errors.New("broken packets were passed over (--strict)")
	// ErrRefused is returned when a camera refuses its user or password: asking again soon locks accounts.
	ErrRefused = reason.ErrRefused
	// ErrResized is returned once when the pictures of a camera have another size from here on: they are another session's.
	ErrResized = errors.New("the size of the pictures has changed")

	// errBroken is returned when a file is no picture that can be sent; its frame says so.
	errBroken = picture.ErrBroken
)
