package gateway

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/spatial-flow/spatial-flow/flow/telemetry"
)

// Doors and reasons of spatialflow_refused_total, and reasons of drops.
const (
	doorScenes  = "scenes"
	doorFrames  = "frames"
	doorAlive   = "alive"
	doorWS      = "ws"
	doorPredict = "predict"

	reasonMalformed = "malformed"
	reasonNewer     = "newer"
	reasonFull      = "full"
	reasonHandshake = "handshake"
	reasonNoWatch   = "no_watch"
	reasonTooLarge  = "too_large"
	reasonNoWorker  = "no_worker"
	reasonOrigin    = "origin"
	reasonFailed    = "failed"
	reasonGone      = "gone"

	reasonSlow      = "slow"        // overtaken by a newer scene before it was sent
	reasonTimeout   = "timeout"     // the viewer was disconnected in the middle of it
	reasonFrameRoom = "frame_bytes" // the picture, not the scene: no room for the frame
)

type metrics struct {
	viewers  prometheus.Gauge
	scenes   prometheus.Counter
	drops    *prometheus.CounterVec
	bytes    prometheus.Counter
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	refused  *prometheus.CounterVec
	lost     prometheus.Counter
	endToEnd prometheus.Observer

	sent atomic.Int64 // scenes since the last alive message
}

func newMetrics(registry prometheus.Registerer) *metrics {
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
		requests: vector("spatialflow_http_requests_total", "HTTP requests.", "route", "method", "code"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "spatialflow_http_request_seconds", Help: "Time to answer an HTTP request; websockets are left out.",
			Buckets: prometheus.DefBuckets,
		}, []string{"route"}),
		refused:  telemetry.NewRefused(registry),
		lost:     counter("spatialflow_gateway_lost_total", "Messages from NATS that found the gateway's queue full."),
		endToEnd: telemetry.NewEndToEnd(registry, "viewer").WithLabelValues(),
	}
	registry.MustRegister(m.viewers, m.scenes, m.drops, m.bytes, m.requests, m.seconds, m.lost)
	return m
}

func (m *metrics) refuse(door, reason string) { m.refused.WithLabelValues(door, reason).Inc() }
func (m *metrics) drop(reason string)         { m.drops.WithLabelValues(reason).Inc() }
