package live

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/spatial-flow/spatial-flow/flow/telemetry"
)

// Doors and reasons of spatialflow_refused_total, and reasons of drops.
const (
	doorScenes = "scenes"
	doorFrames = "frames"
	doorAlive  = "alive"
	doorWS     = "ws"
	doorREST   = "rest"

	reasonMalformed = "malformed"
	reasonNewer     = "newer"
	reasonFull      = "full"
	reasonHandshake = "handshake"
	reasonNoWatch   = "no_watch"

	reasonSlow      = "slow"        // overtaken by a newer scene before it was sent
	reasonTimeout   = "timeout"     // the viewer was disconnected in the middle of it
	reasonFrameRoom = "frame_bytes" // the picture, not the scene: no room for the frame
)

type metrics struct {
	viewers  prometheus.Gauge
	scenes   prometheus.Counter
	drops    *prometheus.CounterVec
	bytes    prometheus.Counter
	refused  *prometheus.CounterVec
	lost     prometheus.Counter
	endToEnd prometheus.Observer

	sent atomic.Int64 // scenes since the last alive message
}

func newMetrics(registry prometheus.Registerer, refused *prometheus.CounterVec) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	vector := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		viewers:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "spatialflow_viewers", Help: "Connected viewers."}),
		scenes:   counter("spatialflow_viewer_scenes_total", "Scenes sent to viewers."),
		drops:    vector("spatialflow_viewer_drops_total", "Scenes, or pictures of them, that a viewer did not get.", "reason"),
		bytes:    counter("spatialflow_viewer_sent_bytes_total", "Bytes of messages sent to viewers."),
		refused:  refused,
		lost:     counter("spatialflow_gateway_lost_total", "Messages from NATS that found the gateway's queue full."),
		endToEnd: telemetry.NewEndToEnd(registry, "viewer").WithLabelValues(),
	}
	registry.MustRegister(m.viewers, m.scenes, m.drops, m.bytes, m.lost)
	return m
}

func (m *metrics) refuse(door, reason string) { m.refused.WithLabelValues(door, reason).Inc() }
func (m *metrics) drop(reason string)         { m.drops.WithLabelValues(reason).Inc() }

// Counters are this gateway's own metrics: the same numbers that /metrics has.
type Counters struct {
	Viewers    float64            `json:"viewers"`
	Scenes     float64            `json:"scenes"`     // sent to viewers
	SentBytes  float64            `json:"sent_bytes"` // to viewers
	Drops      map[string]float64 `json:"drops"`      // for viewers, by reason
	Refused    map[string]float64 `json:"refused"`    // by door and reason
	LostOfNATS float64            `json:"lost"`       // messages from NATS that found the queue full
}

// Counters are what the metrics say now.
func (s *Server) Counters() Counters {
	m := s.metrics
	return Counters{
		Viewers: values(m.viewers)[""], Scenes: values(m.scenes)[""], SentBytes: values(m.bytes)[""],
		Drops: values(m.drops), Refused: values(m.refused), LostOfNATS: values(m.lost)[""],
	}
}

// values reads a counter or gauge, by its label values, joined with a space.
func values(c prometheus.Collector) map[string]float64 {
	found := map[string]float64{}
	metrics := make(chan prometheus.Metric)
	go func() { c.Collect(metrics); close(metrics) }()
	for metric := range metrics {
		var m dto.Metric
		if metric.Write(&m) != nil {
			continue // it can't fail for these
		}
		key := ""
		for _, label := range m.GetLabel() {
			if key != "" {
				key += " "
			}
			key += label.GetValue()
		}
		found[key] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	return found
}
