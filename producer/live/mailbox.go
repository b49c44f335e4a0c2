package live

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/producer/source"
)

// mailbox holds the newest picture of a live source, and no other. Its lock is held while a picture is encoded: who holds
// a lock that callbacks of NATS need asks fresh, and nothing else.
type mailbox struct {
	mu      sync.Mutex
	id      flow.FrameID
	picture *source.Picture // nil: none
	since   time.Time
	full    atomic.Bool // whether there is a picture
}

// put makes a picture the newest, and returns the one that it overtakes, or nil. It waits while a picture is taken, so
// that no source writes over what is being encoded.
func (m *mailbox) put(id flow.FrameID, p source.Picture) (overtaken *source.Picture) {
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
func (m *mailbox) take(book func(flow.FrameID, source.Picture)) (id flow.FrameID, p source.Picture, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.picture == nil {
		return flow.FrameID{}, source.Picture{}, false
	}
	id, p = m.id, *m.picture
	m.clear()
	p.Finish()
	book(id, p)
	return id, p, true
}

// settle encodes the picture that is there, so that its source may be closed.
func (m *mailbox) settle() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.picture != nil {
		m.picture.Finish()
	}
}

// empty removes the picture, if it is there for at least so long, and returns it, or nil.
func (m *mailbox) empty(waited time.Duration) *source.Picture {
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
