package producer

import (
	"errors"

	"github.com/spatial-flow/spatial-flow/producer/lossless"
	"github.com/spatial-flow/spatial-flow/producer/owner"
	"github.com/spatial-flow/spatial-flow/producer/source"
)

var (
	// ErrConfig is returned when a setting is out of its range.
	ErrConfig = source.ErrConfig
	// ErrSourceName is returned when a source is given a name that is no name, or one that is taken.
	ErrSourceName = source.ErrName
	// ErrUnsupported is returned when a URI is of a kind that can't be read yet.
	ErrUnsupported = source.ErrUnsupported
	// ErrOpen is returned when a source can't be opened.
	ErrOpen = source.ErrOpen
	// ErrNoPictures is returned when a folder holds no pictures.
	ErrNoPictures = source.ErrNoPictures
	// ErrNoGroups is returned when no worker group takes lossless frames, or will from a time on that the deployment names: they
	// would be thrown away. Beside live sources it is what a lossless source fails with.
	ErrNoGroups = errors.New("no worker group for lossless frames")
	// ErrStore is what a source fails with when a frame could not be stored in time; it is never skipped.
	ErrStore = lossless.ErrStore
	// ErrPosition is what a source fails with when every scene was seen, but the run's position says otherwise.
	ErrPosition = lossless.ErrPosition
	// ErrOtherFilm is what a source fails with when its run was begun with another film of its name.
	ErrOtherFilm = lossless.ErrOtherFilm
	// ErrFilm is what a film fails with that ends early, or can't be decoded.
	ErrFilm = source.ErrFilm
	// ErrTaken is what a source fails with when another producer has its name, and this one can't or does not stand by for it.
	ErrTaken = owner.ErrTaken
	// ErrSource is returned at the end when a source failed; the others were carried on.
	ErrSource = errors.New("a source failed")
	// ErrStopped is returned when a producer that ends with its sources was stopped before that.
	ErrStopped = errors.New("stopped before the end of its sources")

	// ErrPicture is returned for a picture that can't be sent; the source's others can.
	ErrPicture = errors.New("no usable picture")
)
