package rest

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/gateway/access"
)

// What routes ask for beside the rights that a token has. Nothing that says something of sources, pictures or services is free.
const (
	free  access.Right = "free"  // anybody, with whatever token or none
	known access.Right = "known" // a right token, or none where those without one may something
	later access.Right = "later" // as view, but the token may come in the first message
)

// route is something that is answered, and what who asks must be allowed: nobody is what is not said.
type route struct {
	pattern string // of the mux
	needs   access.Right
	answer  http.HandlerFunc
}

// admit has a route's answer given to who may ask for it.
func (a *API) admit(needs access.Right, answer http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, err := a.enter(r, needs)
		if err != nil {
			writeDenied(w, r, err)
			return
		}
		if a.gate != nil && needs != free {
			w.Header().Add("Vary", "Authorization")
		}
		answer(w, r.WithContext(ctx))
	}
}

// enter is the request's context with its caller in it. An [access.Refusal] is returned when that may not ask.
func (a *API) enter(r *http.Request, needs access.Right) (context.Context, error) {
	ctx := r.Context()
	if _, given := access.Bearer(r); needs == free || needs == later && !given {
		return ctx, nil
	}
	who, err := a.gate.Caller(r)
	if err != nil {
		return ctx, err
	}
	switch needs {
	case known:
	case later:
		err = a.gate.Enter(who, access.View)
	default: // also what is no right
		err = a.gate.Enter(who, needs)
	}
	return access.With(ctx, who), err
}

// writeDenied answers who may not ask, as RFC 6750, section 3, has it.
func writeDenied(w http.ResponseWriter, r *http.Request, err error) {
	var no access.Refusal
	if !errors.As(err, &no) {
		no = access.Refusal{Code: http.StatusForbidden, Reason: access.ReasonMayNot, Text: err.Error()}
	}
	const challenge = `Bearer realm="spatial-flow"`
	switch {
	case no.Reason == access.ReasonMissing:
		w.Header().Set("WWW-Authenticate", challenge)
	case no.Code == http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", challenge+`, error="invalid_token"`)
	case no.Code == http.StatusForbidden:
		w.Header().Set("WWW-Authenticate", challenge+`, error="insufficient_scope"`)
	}
	if no.After > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(no.After.Seconds()))))
	}
	writeProblem(w, r, no.Code, no.Reason, no.Text)
}

// serveCaller answers GET /api/v1/caller with who asks, and what that one may.
func (a *API) serveCaller(w http.ResponseWriter, r *http.Request) {
	who := access.From(r.Context())
	answer := api.Caller{Name: who.Name(), May: []string{}, Sources: append([]string{}, who.Sources()...)}
	for _, right := range who.Rights() {
		if right != access.Manage || a.manage.Managed() {
			answer.May = append(answer.May, string(right))
		}
	}
	if at := who.Expires(); !at.IsZero() {
		answer.Expires = &at
	}
	_, given := access.Bearer(r)
	answer.Tokens = !given && a.gate.Tokens()
	writeJSON(w, http.StatusOK, answer)
}
