package lossless

import "sync"

// windowBytes is how many bytes of pictures a source may have under way at most, however few sources there are.
const windowBytes = 32 << 20

// Memory is what the pictures under way of all lossless sources of a producer may take together: they are kept until they have
// their scenes, to be sent again. Each source may take an equal part of those that are there, and a source that comes waits until
// the others have given its part back. Beyond the limit each source may take one picture, while it has no other under way, so
// that none stands still for the others. Beside it a source has two pictures in hand: one that waits for room, and the next.
type Memory struct {
	limit int // bytes

	mu      sync.Mutex
	sources int
	taken   int           // bytes, of all parts
	freed   chan struct{} // closed when there may be more room
}

// NewMemory is a memory of so many bytes.
func NewMemory(limit int) *Memory { return &Memory{limit: limit, freed: make(chan struct{})} }

// part is what one source has of a memory. Its methods may be called from many goroutines.
type part struct {
	memory *Memory
	taken  int // bytes, under the lock of memory
}

// join counts the source, until leave is called.
func (p *part) join() {
	p.memory.mu.Lock()
	defer p.memory.mu.Unlock()
	p.memory.sources++
}

// leave gives all back.
func (p *part) leave() {
	m := p.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	m.taken -= p.taken
	p.taken = 0
	m.sources--
	m.wake()
}

// take takes so many bytes when there is room for them.
func (p *part) take(bytes int) bool {
	m := p.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	if p.taken > 0 && (p.taken+bytes > m.share() || m.taken+bytes > m.limit) {
		return false
	}
	p.taken += bytes
	m.taken += bytes
	return true
}

// give gives so many bytes back, or what is left of them.
func (p *part) give(bytes int) {
	m := p.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	bytes = min(bytes, p.taken)
	p.taken -= bytes
	m.taken -= bytes
	m.wake()
}

// room is a channel that is closed when there may be more room than now.
func (p *part) room() <-chan struct{} {
	p.memory.mu.Lock()
	defer p.memory.mu.Unlock()
	return p.memory.freed
}

// wake has those look again who wait for room, under m.mu.
func (m *Memory) wake() {
	close(m.freed)
	m.freed = make(chan struct{})
}

// share is what one source may take, in bytes, under m.mu.
func (m *Memory) share() int { return min(windowBytes, m.limit/max(1, m.sources)) }
