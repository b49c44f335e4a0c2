package gateway

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
)

// goneAfter is how long a source is silent before it counts as gone.
const goneAfter = 3 * time.Second

// statusEvery is how often a viewer gets a status, statusFresh how long an encoded one serves all viewers.
const (
	statusEvery = time.Second
	statusFresh = 50 * time.Millisecond
)

// rateSeconds are the seconds that scenes per second are a mean of.
const rateSeconds = 4

// rate counts what happens per second.
type rate struct {
	counts [rateSeconds]int // the first is the running second
}

func (r *rate) add() { r.counts[0]++ }

// tick is called once a second and answers the mean of the last seconds.
func (r *rate) tick() float64 {
	sum := 0
	for _, n := range r.counts {
		sum += n
	}
	copy(r.counts[1:], r.counts[:])
	r.counts[0] = 0
	return float64(sum) / rateSeconds
}

// addAlive notes what a producer says of its sources.
func (h *hub) addAlive(alive flow.Alive) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, status := range alive.Sources {
		s := h.source(status.Source)
		if s == nil {
			h.metrics.refuse(doorAlive, reasonFull)
			continue
		}
		h.setStatus(s, status)
	}
}

// setStatus keeps the status of a source, under h.mu. Of two producers, the one counts that runs it.
func (h *hub) setStatus(s *source, status flow.SourceStatus) {
	now := time.Now()
	if status.Session != s.status.Session && status.State != flow.StateRunning && now.Sub(s.told) < goneAfter {
		return
	}
	ended := status.State != flow.StateRunning && (status.State != s.status.State || status.Session != s.status.Session)
	done := status.Account.Complete + status.Account.Partial + status.Account.Error
	if ended || s.newest == nil && done > 0 {
		h.refresh(s.name)
	}
	s.status, s.told, s.heard = status, now, now
	if status.Mode != "" {
		s.mode = status.Mode
	}
}

// tick is called once a second.
func (h *hub) tick() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.sources {
		s.perSecond = s.rate.tick()
	}
}

// statusMessage is the status of all sources as viewers get it, at most statusFresh old.
func (h *hub) statusMessage() ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.encoded == nil || time.Since(h.encodedAt) >= statusFresh {
		if err := h.encodeStatus(); err != nil {
			return nil, err
		}
	}
	return h.encoded, nil
}

// encodeStatus renews the status message, under h.mu.
func (h *hub) encodeStatus() error {
	data, err := json.Marshal(h.statusNow())
	if err != nil {
		return fmt.Errorf("encode the status: %w", err)
	}
	h.encoded, h.encodedAt = data, time.Now()
	return nil
}

// statusNow is the status of all sources, under h.mu.
func (h *hub) statusNow() Status {
	status := Status{Type: "status", Sources: make([]SourceInfo, 0, len(h.sources))}
	for _, name := range h.names() {
		status.Sources = append(status.Sources, h.sources[name].info())
	}
	return status
}

// currentStatus is the status of all sources.
func (h *hub) currentStatus() Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.statusNow()
}

func (s *source) info() SourceInfo {
	info := SourceInfo{Source: s.name, Mode: s.mode, State: s.state(), Session: s.session(), ScenesPerSecond: s.perSecond}
	if s.newest != nil {
		info.Seq = s.newest.scene.Seq
	}
	if !s.told.IsZero() {
		account := s.status.Account
		info.Account, info.Frames, info.Session, info.Reason = &account, s.status.Frames, s.status.Session, s.status.Reason
	}
	return info
}

// state is what the producer said last; without a producer, a source runs while scenes come.
func (s *source) state() flow.State {
	switch {
	case !s.told.IsZero() && (s.status.State != flow.StateRunning || time.Since(s.told) < goneAfter):
		return s.status.State
	case time.Since(s.heard) < goneAfter:
		return flow.StateRunning
	default:
		return StateGone
	}
}
