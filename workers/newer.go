package workers

import (
	"fmt"
	"sync"
	"time"
)

const (
	newerTold = time.Minute // between two lines of the log
	newerFor  = time.Minute // that the alive message speaks of it: longer than a frame that was given back stays away
)

// newer is what the slots of a worker know of frames that they don't understand.
type newer struct {
	mu     sync.Mutex
	met    time.Time
	told   time.Time
	reason string
}

// meet notes one more of them, and says whether the log is to tell it.
func (n *newer) meet(now time.Time, reason error) (tell bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.met, n.reason = now, reason.Error()
	if tell = n.told.IsZero() || now.Sub(n.told) >= newerTold; tell {
		n.told = now
	}
	return tell
}

// note is what the worker can't do now, and what mends it; empty: nothing.
func (n *newer) note(now time.Time) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.met.IsZero() || now.Sub(n.met) > newerFor {
		return ""
	}
	return fmt.Sprintf("needs a newer worker: %s", n.reason)
}
