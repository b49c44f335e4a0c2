package coded

import (
	"sync"
	"time"
)

// How long it takes until every picture is decoded again: calmLeast after the last one that was late, twice as long each time that
// this was too early, and calmMost at most.
const (
	calmLeast = 15 * time.Second
	calmMost  = 4 * time.Minute
)

// Load is whether there is time to decode every picture that the cameras of a process send. They share it, so that they go to key
// frames together, and none has what the others lack. Its methods may be called from many goroutines.
type Load struct {
	mu      sync.Mutex
	keys    bool          // there is not time
	changed time.Time     // when that began, or ended
	late    time.Time     // the last unit that was
	calm    time.Duration // that is waited for
}

// Late tells that a unit came too late to be decoded.
func (l *Load) Late(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.late = now
	if l.keys {
		return
	}
	if l.calm == 0 || now.Sub(l.changed) > calmMost {
		l.calm = calmLeast
	} else {
		l.calm = min(2*l.calm, calmMost)
	}
	l.keys, l.changed = true, now
}

// KeysOnly says whether only key frames are decoded now.
func (l *Load) KeysOnly(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.keys && now.Sub(l.late) > l.calm {
		l.keys, l.changed = false, now
	}
	return l.keys
}
