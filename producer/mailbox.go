package producer

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
)

// mailbox holds the newest picture of a live source, and no other. Its lock is held while a picture is encoded: who holds
// a lock that callbacks of NATS need asks fresh, and nothing else.
type mailbox struct {
	mu      sync.Mutex
	id      flow.FrameID
	picture *picture // nil: none
	since   time.Time
	full    atomic.Bool // whether there is a picture
}

// put makes a picture the newest, and returns the one that it overtakes, or nil. It waits while a picture is taken, so
// that no source writes over what is being encoded.
func (m *mailbox) put(id flow.FrameID, p picture) (overtaken *picture) {
	m.mu.Lock()
	defer m.mu.Unlock()
	overtaken = m.picture
	m.id, m.picture, m.since = id, &p, time.Now()
	m.full.Store(true)
	return overtaken
}

// fresh says whether there is a picture. It waits for nothing.
func (m *mailbox) fresh() bool { return m.full.Load() }

// take empties the mailbox; the picture is encoded, and booked in its account, before another can be put: so a source that
// ends finds each of its pictures either here or there. ok is false when there is none.
func (m *mailbox) take(book func(flow.FrameID, picture)) (id flow.FrameID, p picture, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.picture == nil {
		return flow.FrameID{}, picture{}, false
	}
	id, p = m.id, *m.picture
	m.clear()
	p.finish()
	book(id, p)
	return id, p, true
}

// settle encodes the picture that is there, so that its source may be closed.
func (m *mailbox) settle() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.picture != nil {
		m.picture.finish()
	}
}

// empty removes the picture, if it is there for at least so long, and returns it, or nil.
func (m *mailbox) empty(waited time.Duration) *picture {
	m.mu.Lock()
	defer m.mu.Unlock()
	had := m.picture
	if had == nil || time.Since(m.since) < waited {
		return nil
	}
	m.clear()
	return had
}

func (m *mailbox) clear() {
	m.picture = nil
	m.full.Store(false)
}
