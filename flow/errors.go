package flow

import (
	"errors"

	"github.com/spatial-flow/spatial-flow/client/api"
)

var (
	// ErrName is returned when a source, session, group or stage is not a name that fits in a subject.
	ErrName = errors.New("bad name")
	// ErrFrameID is returned when a frame ID is malformed.
	ErrFrameID = errors.New("bad frame ID")
	// ErrMessage is returned when bytes are no message of the expected kind, or break a stated bound.
	ErrMessage = errors.New("bad message")
	// ErrDeployment is returned when the deployment object contradicts itself.
	ErrDeployment = errors.New("bad deployment")
	// ErrGroups is returned when the list of groups contradicts itself.
	ErrGroups = errors.New("bad groups")
	// ErrAccount is returned when frames were lost or counted twice: the sums of a source do not balance.
	ErrAccount = api.ErrAccount
)
