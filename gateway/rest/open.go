package rest

import (
	"net/http"
	"sync"
)

// open counts the requests that are open: a server that is closed does not wait for their handlers.
type open struct {
	mu       sync.Mutex
	closed   bool
	requests sync.WaitGroup
}

func (o *open) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !o.begin() {
			writeProblem(w, r, http.StatusServiceUnavailable, reasonStopping, "the gateway stops")
			return
		}
		defer o.requests.Done()
		next.ServeHTTP(w, r)
	})
}

func (o *open) begin() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.requests.Add(1)
	}
	return !o.closed
}

func (o *open) wait() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.requests.Wait()
}
