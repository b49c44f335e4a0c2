package lossless

import "sync"

// windowBytes is how many bytes of pictures a source may have under way at most, however few sources there are.
const windowBytes = 32 << 20

// Memory is what the frames under way of all lossless sources of a producer may take together: they are kept until they have
// their scenes, to be sent again. Each source may take an equal part, and always one frame.
type Memory struct {
	mu      sync.Mutex
	limit   int // bytes
	sources int
}

// NewMemory is a memory of so many bytes.
func NewMemory(limit int) *Memory { return &Memory{limit: limit} }

// join counts one source more, until left is called.
func (m *Memory) join() (left func()) {
	m.add(1)
	return func() { m.add(-1) }
}

func (m *Memory) add(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sources += n
}

// share is what one source may take, in bytes.
func (m *Memory) share() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return min(windowBytes, m.limit/max(1, m.sources))
}
