package delivery

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
)

const holdEvery = time.Second // between two InProgress; AckWait is 3 s

// Hold is all that a partition has taken and not yet ended. It keeps it in the partition's hands, whatever those who
// wait for it are doing, and counts its bytes. It is safe for concurrent use.
type Hold struct {
	limit int64

	mu    sync.Mutex
	held  map[key]*Delivery
	bytes int64
}

type key struct {
	group    string
	mode     flow.Mode
	sequence uint64
}

// NewHold makes an empty hold, which is full at so many bytes.
func NewHold(limit int64) *Hold { return &Hold{limit: limit, held: map[key]*Delivery{}} }

// Add holds a delivery until it ends. False is returned when its result is held already: this one takes the place of the
// one before, and is not to be handed on.
func (h *Hold) Add(d *Delivery) bool {
	k := key{d.Result.Group, d.Result.Mode, d.Sequence}
	h.mu.Lock()
	defer h.mu.Unlock()
	if before := h.held[k]; before != nil {
		before.msg = d.msg
		return false
	}
	d.hold = h
	h.held[k] = d
	h.bytes += int64(d.Size)
	return true
}

func (h *Hold) remove(d *Delivery) jetstream.Msg {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := key{d.Result.Group, d.Result.Mode, d.Sequence}
	if h.held[k] == d {
		delete(h.held, k)
		h.bytes -= int64(d.Size)
	}
	return d.msg
}

// Full says whether no more is to be kept than what cannot be done without.
func (h *Hold) Full() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.bytes > h.limit
}

// KeepAlive tells the server, once a second until ctx ends, that all that is held is still worked on.
func (h *Hold) KeepAlive(ctx context.Context) {
	ticker := time.NewTicker(holdEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, msg := range h.messages() {
			_ = msg.InProgress() // unheard it is delivered again, and held already
		}
	}
}

// GiveBack gives back all that is held, so that the next owner gets it at once.
func (h *Hold) GiveBack() {
	for _, msg := range h.messages() {
		_ = msg.Nak() // unheard, after AckWait
	}
}

func (h *Hold) messages() []jetstream.Msg {
	h.mu.Lock()
	defer h.mu.Unlock()
	messages := make([]jetstream.Msg, 0, len(h.held))
	for _, d := range h.held {
		messages = append(messages, d.msg)
	}
	return messages
}
