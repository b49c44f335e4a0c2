package producer

import (
	"sync"

	"github.com/spatial-flow/spatial-flow/flow"
)

// mailbox holds the newest picture of a live source, and no other.
type mailbox struct {
	mu      sync.Mutex
	id      flow.FrameID
	picture *picture // nil: none
}

// put makes a picture the newest. It returns true when that overtakes one which nobody took. It waits while a picture is
// taken, so that no source writes over what is being encoded.
func (m *mailbox) put(id flow.FrameID, p picture) (overtaken bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	overtaken = m.picture != nil
	m.id, m.picture = id, &p
	return overtaken
}

// fresh says whether there is a picture.
func (m *mailbox) fresh() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.picture != nil
}

// take empties the mailbox; the picture is encoded before another can be put. ok is false when there is none.
func (m *mailbox) take() (id flow.FrameID, p picture, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.picture == nil {
		return flow.FrameID{}, picture{}, false
	}
	id, p = m.id, *m.picture
	m.picture = nil
	p.finish()
	return id, p, true
}

// empty throws the picture away, and says whether there was one.
func (m *mailbox) empty() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	had := m.picture != nil
	m.picture = nil
	return had
}
