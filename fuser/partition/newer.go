package partition

import (
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	newerLeast = time.Second      // before a result that this program does not understand comes again,
	newerMost  = 30 * time.Second // and at most
	newerEvery = time.Minute      // between two lines of the log, and how long the note stands
)

// NewerNote is what a fuser says of itself while results of newer workers wait.
const NewerNote = "needs a newer fuser: results wait that this one does not understand"

// Newer gives back results that this program does not understand, and remembers that there are some. Its zero value is
// ready. It is safe for concurrent use.
type Newer struct {
	mu   sync.Mutex
	last time.Time // one was given back
	told time.Time
}

// GiveBack has the server deliver the result again, to a newer fuser or to this one: after 1 s, and each time twice as long, up to 30 s.
func (n *Newer) GiveBack(msg jetstream.Msg, deliveries uint64, log *slog.Logger, err error) {
	wait := newerMost
	if deliveries <= 5 {
		wait = min(newerLeast<<max(deliveries, 1)>>1, newerMost)
	}
	_ = msg.NakWithDelay(wait) // unheard it comes again after AckWait
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last = time.Now()
	if n.last.Sub(n.told) >= newerEvery {
		n.told = n.last
		log.Warn("results wait for a newer fuser", "error", err)
	}
}

// Note is [NewerNote] while there are such results, else empty.
func (n *Newer) Note() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.last.IsZero() || time.Since(n.last) >= newerEvery {
		return ""
	}
	return NewerNote
}
