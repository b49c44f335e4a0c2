package live

import (
	"fmt"
	"time"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow"
)

// goneAfter is how long a source is silent before it counts as gone.
const goneAfter = 3 * time.Second

// maxProducers bounds the producers that are told apart.
const maxProducers = 1024

// toldFor is how long what a producer that is alive said of a source holds: it speaks of those that don't change in turn.
const toldFor = 30 * time.Second

// waitsAfter is how long a film of which frames are under way is without a new scene before that is told.
const waitsAfter = 10 * time.Second

// frameKeep is for how long a frame whose scene does not come is kept.
const frameKeep = 2 * time.Minute

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

// addAlive notes what a producer says of its sources: of those that changed and, in turn, of some others.
func (h *hub) addAlive(alive flow.Alive) {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, known := h.producers[alive.Instance]; alive.Stage == "producer" && (known || len(h.producers) < maxProducers) {
		h.producers[alive.Instance] = now
	}
	for _, status := range alive.Sources {
		s := h.source(status.Source)
		if s == nil {
			h.metrics.refuse(doorAlive, reasonFull)
			continue
		}
		h.setStatus(s, status, alive.Instance, now)
	}
}

// setStatus keeps the status of a source, under h.mu. Of two producers, the one counts that runs it.
func (h *hub) setStatus(s *source, status flow.SourceStatus, producer string, now time.Time) {
	if status.Session != s.status.Session && status.State != flow.StateRunning && h.toldOf(s, now) {
		return
	}
	ended := status.State != flow.StateRunning && (status.State != s.status.State || status.Session != s.status.Session)
	done := finished(status.Account)
	if ended || s.newest == nil && done > 0 {
		h.refresh(s.name)
	}
	if status.Session != s.status.Session || done != finished(s.status.Account) || status.Account.InFlight == 0 {
		s.moved = now
	}
	s.status, s.producer, s.told, s.heard = status, producer, now, now
	if status.Mode != "" {
		s.mode = status.Mode
	}
}

func finished(a flow.Account) uint64 { return a.Complete + a.Partial + a.Error }

// toldOf says whether what a producer said of a source still holds, under h.mu: the producer is alive, and speaks of each of
// its sources again and again.
func (h *hub) toldOf(s *source, now time.Time) bool {
	return !s.told.IsZero() && now.Sub(s.told) < toldFor && now.Sub(h.producers[s.producer]) < goneAfter
}

// tick is called once a second.
func (h *hub) tick() {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	for _, s := range h.sources {
		s.perSecond = s.rate.tick()
		h.frameBytes -= s.frames.expire(now.Add(-frameKeep))
	}
	for producer, heard := range h.producers {
		if now.Sub(heard) > toldFor {
			delete(h.producers, producer)
		}
	}
}

// currentStatus is the status of all sources.
func (h *hub) currentStatus() api.Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	status, now := api.Status{Type: "status", Sources: make([]api.Source, 0, len(h.sources))}, time.Now()
	for _, name := range h.names() {
		status.Sources = append(status.Sources, h.info(h.sources[name], now))
	}
	return status
}

// info is what is told of a source, under h.mu.
func (h *hub) info(s *source, now time.Time) api.Source {
	info := api.Source{Source: s.name, Mode: s.mode, State: h.state(s, now), Session: s.session(), ScenesPerSecond: s.perSecond}
	if s.newest != nil {
		info.Seq = s.newest.scene.Seq
	}
	if !s.told.IsZero() {
		account := s.status.Account
		info.Account, info.Frames, info.Session = &account, s.status.Frames, s.status.Session
		info.Reason, info.Note = s.status.Reason, s.status.Note
	}
	if still := now.Sub(s.moved); s.mode == flow.ModeLossless && info.State == flow.StateRunning && info.Account != nil &&
		info.Account.InFlight > 0 && still >= waitsAfter {
		info.Waiting = fmt.Sprintf("%d frames wait, no scene for %v", info.Account.InFlight, still.Round(time.Second))
	}
	return info
}

// state is what the producer said last, under h.mu; without a producer, a source runs while scenes come.
func (h *hub) state(s *source, now time.Time) flow.State {
	switch {
	case !s.told.IsZero() && (s.status.State != flow.StateRunning || h.toldOf(s, now)):
		return s.status.State
	case now.Sub(s.heard) < goneAfter:
		return flow.StateRunning
	default:
		return api.StateGone
	}
}
