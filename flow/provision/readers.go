package provision

import (
	"sync"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
)

// heardFor is how long everybody is listened to before a version is raised: each tells once a second that it is alive.
const heardFor = 10 * time.Second

// silentFor is how long one that reads less than others keeps them from it after it was last heard: a host that sleeps, or is
// cut off for a while, comes back, and messages can't be made older again.
const silentFor = 45 * time.Second

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

// all is the newest version that every instance reads which was heard in the last 45 s; 0 while that is not known, or none is
// alive.
func (r *readers) all(now time.Time) (wire int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	alive := false
	for subject, one := range r.heard {
		silent := now.Sub(one.at)
		alive = alive || silent < heardFor
		if silent >= silentFor {
			delete(r.heard, subject)
		} else if wire == 0 || one.wire < wire {
			wire = one.wire
		}
	}
	if !alive {
		return 0
	}
	if now.Sub(r.since) < heardFor {
		return 0
	}
	return wire
}
