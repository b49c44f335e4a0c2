package access

import (
	"container/list"
	"context"
	"net/http"
	"net/netip"
	"sync"

	"github.com/spatial-flow/spatial-flow/flow/telemetry"
)

// mostWaiting is how many may be in a lobby. Who has a token sends it at once.
const mostWaiting = 256

// ErrCrowded ends the one that makes room.
var ErrCrowded error = Refusal{Code: http.StatusServiceUnavailable, Reason: "full", Text: "too many came without a token: try again"}

// Lobby is where connections are whose callers are not known yet. They take the place of nobody who is known. When it is full, the one that
// is there longest, of the address that most are from, makes room: many that say nothing don't drive out the one that is about to.
type Lobby struct {
	mu    sync.Mutex
	order list.List // of *guest, the longest there first
	from  map[netip.Addr]int
}

type guest struct {
	from netip.Addr
	end  context.CancelCauseFunc
	left bool
}

// Enter keeps a connection from an address, which end ends, until leave is called.
func (l *Lobby) Enter(address netip.Addr, end context.CancelCauseFunc) (leave func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.order.Len() >= mostWaiting {
		l.makeRoom()
	}
	if l.from == nil {
		l.from = map[netip.Addr]int{}
	}
	one := &guest{from: telemetry.Client(address), end: end}
	l.from[one.from]++
	element := l.order.PushBack(one)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.remove(element)
	}
}

// makeRoom ends one, under l.mu.
func (l *Lobby) makeRoom() {
	most := 0
	for _, n := range l.from {
		most = max(most, n)
	}
	for element := l.order.Front(); element != nil; element = element.Next() {
		if one := element.Value.(*guest); l.from[one.from] == most {
			l.remove(element)
			one.end(ErrCrowded)
			return
		}
	}
}

// remove takes one out that is there, or was, under l.mu.
func (l *Lobby) remove(element *list.Element) {
	one := element.Value.(*guest)
	if one.left {
		return
	}
	one.left = true
	l.order.Remove(element)
	if l.from[one.from]--; l.from[one.from] == 0 {
		delete(l.from, one.from)
	}
}
