package gateway

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// endToEndBuckets are seconds, up to models that take seconds on a CPU.
var endToEndBuckets = []float64{.01, .02, .05, .1, .15, .2, .3, .5, .75, 1, 1.5, 2, 3, 5, 10, 30}

// Doors and reasons of spatialflow_refused_total, and reasons of drops.
const (
	doorScenes = "scenes"
	doorFrames = "frames"
	doorAlive  = "alive"
	doorWS     = "ws"

	reasonMalformed = "malformed"
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
	endToEnd := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "spatialflow_end_to_end_seconds", Help: "Time from a frame's capture until its scene was sent, by the clocks of both hosts.",
		Buckets: endToEndBuckets, ConstLabels: prometheus.Labels{"to": "viewer"},
	})
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
		refused:  vector("spatialflow_refused_total", "Bad input that was turned away.", "door", "reason"),
		lost:     counter("spatialflow_gateway_lost_total", "Messages from NATS that found the gateway's queue full."),
		endToEnd: endToEnd,
	}
	registry.MustRegister(m.viewers, m.scenes, m.drops, m.bytes, m.requests, m.seconds, m.refused, m.lost, endToEnd)
	return m
}

func (m *metrics) refuse(door, reason string) { m.refused.WithLabelValues(door, reason).Inc() }
func (m *metrics) drop(reason string)         { m.drops.WithLabelValues(reason).Inc() }
