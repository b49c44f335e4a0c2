package access

import (
	"container/list"
	"context"
	"net/http"
	"sync"
)

// mostWaiting is how many may be in a lobby; the one that is there longest makes room. Who has a token sends it at once.
const mostWaiting = 256

// ErrCrowded ends the one that makes room.
var ErrCrowded error = Refusal{Code: http.StatusServiceUnavailable, Reason: "full", Text: "too many came without a token: try again"}

// Lobby is where connections are whose callers are not known yet. They take the place of nobody who is known.
type Lobby struct {
	mu    sync.Mutex
	order list.List // of context.CancelCauseFunc, the longest there first
}

// Enter keeps a connection, which end ends, until leave is called.
func (l *Lobby) Enter(end context.CancelCauseFunc) (leave func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.order.Len() >= mostWaiting {
		l.order.Remove(l.order.Front()).(context.CancelCauseFunc)(ErrCrowded)
	}
	element := l.order.PushBack(end)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.order.Remove(element)
	}
}
