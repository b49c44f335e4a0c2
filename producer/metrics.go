package producer

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/telemetry"
)

const stage = "producer"

type metrics struct {
	seconds  *prometheus.HistogramVec // by step: read, encode, publish
	frames   *prometheus.CounterVec   // by source, outcome and reason
	inFlight *prometheus.GaugeVec     // by source
	bytes    *prometheus.HistogramVec // by source
	endToEnd *prometheus.HistogramVec // by source
}

func newMetrics(registry prometheus.Registerer) metrics {
	m := metrics{
		seconds: telemetry.NewStageSeconds(registry, stage),
		frames: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "spatialflow_frames_total", Help: "The account of a source's frames.",
		}, []string{"source", "outcome", "reason"}),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "spatialflow_frames_in_flight", Help: "Admitted frames whose scene is not yet seen.",
		}, []string{"source"}),
		bytes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "spatialflow_frame_bytes", Help: "Size of a frame's picture.",
			Buckets: prometheus.ExponentialBuckets(8<<10, 2, 10),
		}, []string{"source"}),
		endToEnd: telemetry.NewEndToEnd(registry, "scene", "source"),
	}
	registry.MustRegister(m.frames, m.inFlight, m.bytes)
	return m
}

// sourceMetrics are those of one source.
type sourceMetrics struct {
	captured, admitted, complete, partial, failed prometheus.Counter

	afterExpiry                         func()
	skipped, dropped                    func(reason string) prometheus.Counter
	inFlight                            prometheus.Gauge
	read, encode, publish, bytes, scene prometheus.Observer
}

func (m metrics) of(source string) sourceMetrics {
	frames := func(outcome string) prometheus.Counter { return m.frames.WithLabelValues(source, outcome, "") }
	return sourceMetrics{
		captured: frames("captured"), admitted: frames("admitted"),
		complete: frames(string(flow.OutcomeComplete)), partial: frames(string(flow.OutcomePartial)), failed: frames(string(flow.OutcomeError)),
		afterExpiry: func() { frames("after_expiry").Inc() },
		skipped:     func(reason string) prometheus.Counter { return m.frames.WithLabelValues(source, "skipped", reason) },
		dropped:     func(reason string) prometheus.Counter { return m.frames.WithLabelValues(source, "dropped", reason) },
		inFlight:    m.inFlight.WithLabelValues(source),
		read:        m.seconds.WithLabelValues("read"), encode: m.seconds.WithLabelValues("encode"), publish: m.seconds.WithLabelValues("publish"),
		bytes: m.bytes.WithLabelValues(source), scene: m.endToEnd.WithLabelValues(source),
	}
}

func (m sourceMetrics) admit(p picture) {
	m.captured.Inc()
	m.read.Observe(p.read.Seconds())
	m.admitLive(p)
}

// admitLive is admit for a picture that was counted when it was captured.
func (m sourceMetrics) admitLive(p picture) {
	m.admitted.Inc()
	m.inFlight.Inc()
	m.encode.Observe(p.encode.Seconds())
	if p.data != nil {
		m.bytes.Observe(float64(len(p.data)))
	}
}

func (m sourceMetrics) close(outcome flow.Outcome) {
	m.inFlight.Dec()
	switch outcome {
	case flow.OutcomeComplete:
		m.complete.Inc()
	case flow.OutcomePartial:
		m.partial.Inc()
	default:
		m.failed.Inc()
	}
}

func (m sourceMetrics) skip(reason string) { m.skipped(reason).Inc() }

func (m sourceMetrics) drop(reason string) {
	m.inFlight.Dec()
	m.dropped(reason).Inc()
}

func (m sourceMetrics) stored(since time.Time) { m.publish.Observe(time.Since(since).Seconds()) }
