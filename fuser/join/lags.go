package join

import (
	"sync"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/clock"
)

const (
	meanWeight = 0.1              // of one more result in a group's mean
	mostLag    = 30 * time.Second // that is learned from
)

// Lags is how much later than a frame's first result each group's comes, on average, by this host's clock: what groups
// say of their waits depends on other clocks. All cameras of a fuser share one, so that a new camera need not learn it
// again. It is safe for concurrent use.
type Lags struct {
	mu    sync.Mutex
	means map[string]time.Duration
}

// NewLags knows nothing yet.
func NewLags() *Lags { return &Lags{means: map[string]time.Duration{}} }

// learn takes one more result into account. What was dropped was not worked on and tells nothing.
func (l *Lags) learn(r *flow.Result, after time.Duration) {
	if r.Dropped != "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	after = min(after, mostLag)
	if mean, known := l.means[r.Group]; known {
		after = mean + time.Duration(meanWeight*float64(after-mean))
	}
	l.means[r.Group] = after
}

// patience is how long after its first result a frame may wait for the groups.
func (l *Lags) patience(groups ...string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	wait := time.Duration(clock.LeastDeadline)
	for _, group := range groups {
		mean, known := l.means[group]
		if !known {
			wait = max(wait, clock.FirstDeadline)
			continue
		}
		wait = max(wait, clock.DeadlineTimes*mean)
	}
	return min(wait, clock.MostDeadline)
}
