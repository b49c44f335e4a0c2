// Package telemetry is what a service shows of itself: structured logs, Prometheus metrics in a registry of
// its own, and the admin address with /metrics, /healthz, /readyz, /drain and /debug/pprof.
package telemetry

import (
	"io"
	"log/slog"
	"sync/atomic"
	"time"
)

// NewLogger writes text for people or JSON for machines, from level on.
func NewLogger(w io.Writer, format string, level slog.Level) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// awayMost is how long NATS may be away from a service that is ready: longer than a server takes to restart, or a cluster to
// elect a leader.
const awayMost = 5 * time.Second

// Health is a service's readiness; it begins false. Whether it lives is another question: one that waits for NATS does, and
// goes on by itself.
type Health struct {
	ready, draining atomic.Bool
	away            atomic.Pointer[func() time.Duration]
}

// SetReady says whether the service does its work.
func (h *Health) SetReady(ready bool) { h.ready.Store(ready) }

// Needs makes readiness follow what the service can't work without: away says for how long that has not been there, 0 while
// it is.
func (h *Health) Needs(away func() time.Duration) { h.away.Store(&away) }

// Drain makes it not ready for good: the service stops taking, and finishes what it has in hand.
func (h *Health) Drain() { h.draining.Store(true) }

// Ready says whether the service does its work, and takes more of it. It is false too once what it needs has been away for 5 s.
func (h *Health) Ready() bool {
	if away := h.away.Load(); away != nil && (*away)() >= awayMost {
		return false
	}
	return h.ready.Load() && !h.draining.Load()
}
