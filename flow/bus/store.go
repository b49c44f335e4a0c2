package bus

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/clock"
)

// A first try is short, for a stream whose leader is gone does not answer at all; later ones give a slow one its time.
const (
	firstTry   = 500 * time.Millisecond
	longestTry = 2 * time.Second
	storeWait  = 20 * time.Millisecond // before the second try
	storeMost  = time.Second           // between two tries
)

// Policy is what [Store] does while a message is not stored.
type Policy struct {
	// Shrink makes the message smaller, and returns false when it is as small as it gets. Without it nothing is tried again
	// after [ErrTooLarge].
	Shrink func() bool
	// Waiting is called before each wait, with why the message is not stored yet, so that what depends on it is kept
	// alive, and the reason is told.
	Waiting func(err error)
}

// Store stores one message by trying again and again, until ctx ends: each try has its own time, and there is a wait, with
// jitter, before the next one. try must be harmless when it is repeated. nil is returned when the message is stored. These errors
// end it: [ErrStored], another try or somebody else had stored it; [ErrTooLarge], and it can't be made smaller; all that trying
// again does not change ([Hopeless]); and the last try's error, joined with the cause, when ctx ended.
func Store(ctx context.Context, p Policy, try func(context.Context) error) error {
	within, wait := firstTry, storeWait
	for {
		call, cancel := context.WithTimeout(ctx, within)
		err := try(call)
		cancel()
		switch {
		case err == nil, errors.Is(err, ErrStored):
			return err
		case errors.Is(err, ErrTooLarge): // before what is hopeless: a message of too many elements is no message either
			if p.Shrink == nil || !p.Shrink() {
				return err
			}
			continue
		case Hopeless(err):
			return err
		}
		if p.Waiting != nil {
			p.Waiting(err)
		}
		if !clock.Sleep(ctx, wait/2+rand.N(wait)) {
			return errors.Join(err, context.Cause(ctx))
		}
		within, wait = min(2*within, longestTry), min(2*wait, storeMost)
	}
}

// Hopeless says whether trying again changes nothing: the message is no message, or this client may not or can't publish.
func Hopeless(err error) bool {
	for _, reason := range []error{flow.ErrMessage, ErrRefused, nats.ErrConnectionClosed, nats.ErrBadSubject, nats.ErrHeadersNotSupported} {
		if errors.Is(err, reason) {
			return true
		}
	}
	return false
}

// Codes of JetStream's API errors: https://github.com/nats-io/nats-server/blob/main/server/errors.json
const (
	codeWrongLastSequence  jetstream.ErrorCode = 10071
	codeLastSequenceMoving jetstream.ErrorCode = 10164 // another message for the subject is on its way: who wins is not known yet
	codeMessageTooLarge    jetstream.ErrorCode = 10054
	codeStreamStoreFailed  jetstream.ErrorCode = 10077
)

// Texts of codeStreamStoreFailed when a guard of the stream is reached: ErrMaxMsgs and ErrMaxBytes of nats-server's store.go,
// ErrMaxMsgsPerSubject of it never comes here.
var guardTexts = []string{"maximum messages exceeded", "maximum bytes exceeded"}

// publishError turns what the server answered to a publish into this package's errors.
func publishError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		return wrapped(ErrNotProvisioned, err)
	case errors.Is(err, nats.ErrMaxPayload):
		return wrapped(ErrTooLarge, err)
	case errors.Is(err, nats.ErrPermissionViolation):
		return wrapped(ErrRefused, err)
	}
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return err
	}
	switch api.ErrorCode {
	case codeWrongLastSequence:
		return wrapped(ErrStored, err)
	case codeMessageTooLarge:
		return wrapped(ErrTooLarge, err)
	case codeStreamStoreFailed:
		for _, text := range guardTexts {
			if api.Description == text {
				return wrapped(ErrFull, err)
			}
		}
	}
	return err
}
