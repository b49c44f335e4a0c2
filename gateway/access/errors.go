package access

import (
	"errors"
	"net/http"
	"time"
)

var (
	// ErrConfig is returned when a setting makes no sense.
	ErrConfig = errors.New("who may ask")
	// ErrFile is returned, naming file, entry and field, when a file of tokens says what can't be meant. It quotes no token.
	ErrFile = errors.New("bad tokens")
)

// Reasons of refusals, for programs.
const (
	ReasonMissing = "token_missing"
	ReasonWrong   = "token_wrong" // also one that was withdrawn
	ReasonExpired = "token_expired"
	ReasonMayNot  = "not_allowed"
	ReasonRate    = "rate"
	ReasonHidden  = "no_source" // as of one that never was
)

// Refusal is why somebody is not answered, with its code as HTTP knows it, and a word for programs.
type Refusal struct {
	Code   int
	Reason string
	Text   string
	After  time.Duration // when to ask again; 0: not said
}

func (r Refusal) Error() string { return r.Text }

var (
	errMissing = Refusal{Code: http.StatusUnauthorized, Reason: ReasonMissing, Text: "a token is needed: Authorization: Bearer TOKEN, or, on the websocket, the key token of the first message"}
	errWrong   = Refusal{Code: http.StatusUnauthorized, Reason: ReasonWrong, Text: "the token is not one of this gateway's, or was withdrawn"}
	errExpired = Refusal{Code: http.StatusUnauthorized, Reason: ReasonExpired, Text: "the token has expired"}
	errHidden  = Refusal{Code: http.StatusNotFound, Reason: ReasonHidden, Text: "there is no such source"}
	errOften   = Refusal{Code: http.StatusTooManyRequests, Reason: ReasonRate, Text: "too many wrong tokens came from this address", After: time.Second}
)
