package live

import (
	"sync"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/producer/source"
)

// waiting is a picture that waits for admission.
type waiting struct {
	id        flow.FrameID
	partition int // of its session
	picture   source.Picture
	since     time.Time
}

// mailbox holds the newest picture of a live source, and no other. Its lock is held for nothing that takes time.
type mailbox struct {
	mu     sync.Mutex
	newest *waiting // nil: none
}

// put makes a picture the newest, and returns the one that it overtakes, or nil.
func (m *mailbox) put(w *waiting) (overtaken *waiting) {
	m.mu.Lock()
	defer m.mu.Unlock()
	overtaken, m.newest = m.newest, w
	return overtaken
}

// full says whether there is a picture.
func (m *mailbox) full() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.newest != nil
}

// empty removes the picture, if it is there for at least so long, and returns it, or nil.
func (m *mailbox) empty(waited time.Duration) *waiting {
	m.mu.Lock()
	defer m.mu.Unlock()
	had := m.newest
	if had == nil || time.Since(had.since) < waited {
		return nil
	}
	m.newest = nil
	return had
}
