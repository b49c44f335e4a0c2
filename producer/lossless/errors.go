package lossless

import "errors"

var (
	// ErrStore is returned when a frame could not be stored in time; it is never skipped.
	ErrStore = errors.New("frame not stored")
	// ErrPosition is returned when every scene was seen, but the run's position says otherwise.
	ErrPosition = errors.New("position differs from the account")
	// ErrOtherFilm is returned when a run was begun with another film than the one that is there now.
	ErrOtherFilm = errors.New("this run was begun with another film of that name")
)
