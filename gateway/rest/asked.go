package rest

import (
	"context"
	"crypto/rand"
	"net/http"
	"regexp"
)

// asked is what was asked for, as answers and the log name it.
type asked struct {
	id   string // X-Request-Id
	path string
	base string // under which everything lies
}

type askedKey struct{}

// withAsked notes what is asked for.
func (a *API) withAsked(r *http.Request) (*http.Request, asked) {
	now := asked{id: requestID(r), path: r.URL.Path, base: a.cfg.BasePath}
	return r.WithContext(context.WithValue(r.Context(), askedKey{}, now)), now
}

func askedOf(r *http.Request) asked {
	if now, ok := r.Context().Value(askedKey{}).(asked); ok {
		return now
	}
	return asked{path: r.URL.Path}
}

var saneID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// requestID is the name that a request came with, or one of its own.
func requestID(r *http.Request) string {
	if given := r.Header["X-Request-Id"]; len(given) == 1 && saneID.MatchString(given[0]) {
		return given[0]
	}
	return rand.Text()
}
