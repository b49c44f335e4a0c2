package service

import "errors"

var (
	// ErrConnection is returned when the settings of the connection to NATS contradict each other.
	ErrConnection = errors.New("nats settings")
	// ErrUnhealthy is returned when a program does not answer, or answers that it is not ready.
	ErrUnhealthy = errors.New("not healthy")
	// ErrDrain is returned when a program can't be told to drain, or has not ended in time.
	ErrDrain = errors.New("drain")
)
