// Package api is what readers of a gateway get, and what they may ask: the JSON of its websocket, of its REST answers and of
// scene files. docs/protocol.md has the same in prose, openapi.yaml as a schema. Messages only grow: a reader ignores keys
// that it does not know.
//
// The msgpack tags of some types are their keys in the messages on NATS.
package api

import "errors"

// ErrMessage is returned when bytes are no message of a gateway, or break a stated bound.
var ErrMessage = errors.New("bad message of a gateway")

// Mode says what happens to a frame that can't be taken at once.
type Mode string

const (
	// ModeLossless processes every frame exactly once: a source waits when the pipeline is busy.
	ModeLossless Mode = "lossless"
	// ModeLive keeps latency flat: the freshest frame wins and others are skipped.
	ModeLive Mode = "live"
)

// Outcome is how a frame ended.
type Outcome string

const (
	OutcomeComplete Outcome = "complete" // every group of the plan answered
	OutcomePartial  Outcome = "partial"  // a group of the plan is missing: it is left out now, or (live) the deadline passed
	OutcomeError    Outcome = "error"    // a group answered that it can't
	// OutcomeDropped ends a live frame that every group of its plan dropped: it has no scene.
	OutcomeDropped Outcome = "dropped"
)

// State is how far a source is.
type State string

const (
	StateRunning  State = "running"
	StateComplete State = "complete" // lossless: every frame has its stored scene
	StateStopped  State = "stopped"  // asked to stop before its end
	StateFailed   State = "failed"
	// StateGone is told by gateways: it was running when it was last heard of, more than 3 s ago.
	StateGone State = "gone"
)

// Ended says that no frame comes any more: the source is complete, stopped or failed.
func (s State) Ended() bool { return s == StateComplete || s == StateStopped || s == StateFailed }
