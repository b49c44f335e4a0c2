package provision

import (
	"sync"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
)

// heardFor is how long everybody is listened to before a version is raised: each tells once a second that it is alive.
const heardFor = 10 * time.Second

// maxReaders bounds who is remembered: of more, none is.
const maxReaders = 10_000

// readers knows which version of the messages each instance that is alive reads.
type readers struct {
	mu    sync.Mutex
	since time.Time // without a gap
	heard map[string]reader
}

type reader struct {
	wire int
	at   time.Time
}

// begin forgets all: from now on nobody is missed.
func (r *readers) begin(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.since, r.heard = now, map[string]reader{}
}

// hear takes what an instance says; what is no alive message is of an instance that reads the first version.
func (r *readers) hear(now time.Time, subject string, data []byte) {
	wire := 1
	if alive, err := flow.ParseAlive(data); err == nil {
		wire = max(wire, alive.Wire)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.heard[subject]; known || len(r.heard) < maxReaders {
		r.heard[subject] = reader{wire, now}
	} else {
		r.since = now // not all are known
	}
}

// all is the newest version that every instance alive reads; 0 while that is not known, or there is none.
func (r *readers) all(now time.Time) (wire int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for subject, one := range r.heard {
		if now.Sub(one.at) >= heardFor {
			delete(r.heard, subject)
		} else if wire == 0 || one.wire < wire {
			wire = one.wire
		}
	}
	if now.Sub(r.since) < heardFor {
		return 0
	}
	return wire
}
