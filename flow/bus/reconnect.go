package bus

import (
	"math/rand/v2"
	"sync"
	"time"
)

const (
	reconnectLeast = 100 * time.Millisecond
	reconnectMost  = 2 * time.Second
	repeatAfter    = time.Minute // before the same error is told again
	repeatsKept    = 64          // errors that are told apart
)

// reconnectDelay is the wait after so many tries of all servers: short at first, for a server that only restarts; with
// jitter, for all services lose it together.
func reconnectDelay(attempts int) time.Duration {
	wait := min(reconnectLeast<<min(max(attempts-1, 0), 8), reconnectMost)
	return wait/2 + rand.N(wait/2)
}

// repeats keeps what is said again and again, as at each try with a password that is refused, out of the log.
type repeats struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// again says whether text is to be told: it was not for a minute.
func (r *repeats) again(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if now.Sub(r.last[text]) < repeatAfter {
		return false
	}
	if r.last == nil || len(r.last) >= repeatsKept {
		r.last = map[string]time.Time{}
	}
	r.last[text] = now
	return true
}
