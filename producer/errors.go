package producer

import "errors"

var (
	// ErrConfig is returned when a setting is out of its range.
	ErrConfig = errors.New("bad setting")
	// ErrSourceName is returned when a source is given a name that is no name, or one that is taken.
	ErrSourceName = errors.New("bad source name")
	// ErrUnsupported is returned when a URI is of a kind that can't be read yet.
	ErrUnsupported = errors.New("not supported yet")
	// ErrOpen is returned when a source can't be opened.
	ErrOpen = errors.New("can't be opened")
	// ErrNoPictures is returned when a folder holds no pictures.
	ErrNoPictures = errors.New("no pictures")
	// ErrNoGroups is returned when no worker group takes lossless frames: they would be thrown away.
	ErrNoGroups = errors.New("no worker group for lossless frames")
	// ErrStore is returned when a frame could not be stored in time; it is never skipped.
	ErrStore = errors.New("frame not stored")
	// ErrPosition is returned when every scene was seen, but the run's position says otherwise.
	ErrPosition = errors.New("position differs from the account")
	// ErrSource is returned at the end when a source failed; the others were carried on.
	ErrSource = errors.New("a source failed")
	// ErrStopped is returned when a producer that ends with its sources was stopped before that.
	ErrStopped = errors.New("stopped before the end of its sources")

	// ErrPicture is returned for a picture that can't be sent; the source's others can.
	ErrPicture = errors.New("no usable picture")

	// errBroken is returned when a file is no picture that can be sent; its frame says so.
	errBroken = errors.New("broken picture")
)
