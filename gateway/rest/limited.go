package rest

import (
	"errors"
	"math"
	"net/http"
	"strconv"

	"github.com/spatial-flow/spatial-flow/gateway/callers"
)

// limited answers callers who have had enough for now with when to come again.
func (a *API) limited(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		leave, err := a.callers.Enter(r)
		var no callers.Refusal
		if errors.As(err, &no) {
			a.metrics.refuse(doorHTTP, no.Reason)
			w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(no.After.Seconds()))))
			writeProblem(w, r, http.StatusTooManyRequests, no.Reason, no.Text)
			return
		}
		defer leave()
		next.ServeHTTP(w, r)
	})
}
