package account

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/telemetry"
)

// Stage is what the producer is called in alive messages, ledgers and metrics.
const Stage = "producer"

// Metrics are those of all sources of a producer.
type Metrics struct {
	seconds     *prometheus.HistogramVec // by step: read, encode, publish
	frames      *prometheus.CounterVec   // by source, outcome and reason
	republished *prometheus.CounterVec   // by source
	inFlight    *prometheus.GaugeVec     // by source
	bytes       *prometheus.HistogramVec // by source
	endToEnd    *prometheus.HistogramVec // by source
}

// NewMetrics registers them.
func NewMetrics(registry prometheus.Registerer) Metrics {
	m := Metrics{
		seconds: telemetry.NewStageSeconds(registry, Stage),
		frames: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "spatialflow_frames_total", Help: "The account of a source's frames.",
		}, []string{"source", "outcome", "reason"}),
		republished: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "spatialflow_frames_republished_total", Help: "Frames that were published again: nothing of them was found anywhere.",
		}, []string{"source"}),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "spatialflow_frames_in_flight", Help: "Admitted frames whose scene is not yet seen.",
		}, []string{"source"}),
		bytes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "spatialflow_frame_bytes", Help: "Size of a frame's picture.",
			Buckets: prometheus.ExponentialBuckets(8<<10, 2, 10),
		}, []string{"source"}),
		endToEnd: telemetry.NewEndToEnd(registry, "scene", "source"),
	}
	registry.MustRegister(m.frames, m.republished, m.inFlight, m.bytes)
	return m
}

// Forget deletes the series of a source.
func (m Metrics) Forget(source string) {
	labels := prometheus.Labels{"source": source}
	m.frames.DeletePartialMatch(labels)
	m.republished.DeletePartialMatch(labels)
	m.inFlight.DeletePartialMatch(labels)
	m.bytes.DeletePartialMatch(labels)
	m.endToEnd.DeletePartialMatch(labels)
}

// SourceMetrics are those of one source.
type SourceMetrics struct {
	captured, admitted, complete, partial, failed, republished prometheus.Counter

	afterExpiry                         func()
	skipped, dropped                    func(reason string) prometheus.Counter
	inFlight                            prometheus.Gauge
	read, encode, publish, bytes, scene prometheus.Observer
}

// Of makes the metrics of one source, with zeros.
func (m Metrics) Of(source string) SourceMetrics {
	frames := func(outcome string) prometheus.Counter { return m.frames.WithLabelValues(source, outcome, "") }
	return SourceMetrics{
		captured: frames("captured"), admitted: frames("admitted"),
		complete: frames(string(flow.OutcomeComplete)), partial: frames(string(flow.OutcomePartial)), failed: frames(string(flow.OutcomeError)),
		republished: m.republished.WithLabelValues(source),
		afterExpiry: func() { frames("after_expiry").Inc() },
		skipped:     func(reason string) prometheus.Counter { return m.frames.WithLabelValues(source, "skipped", reason) },
		dropped:     func(reason string) prometheus.Counter { return m.frames.WithLabelValues(source, "dropped", reason) },
		inFlight:    m.inFlight.WithLabelValues(source),
		read:        m.seconds.WithLabelValues("read"), encode: m.seconds.WithLabelValues("encode"), publish: m.seconds.WithLabelValues("publish"),
		bytes: m.bytes.WithLabelValues(source), scene: m.endToEnd.WithLabelValues(source),
	}
}

// Received counts a picture that came without being read.
func (m SourceMetrics) Received() { m.captured.Inc() }

// Captured counts a picture, which took so long to read.
func (m SourceMetrics) Captured(read time.Duration) {
	m.captured.Inc()
	m.read.Observe(read.Seconds())
}

// Admitted counts a frame, whose picture took so long to encode and has so many bytes; 0: it has none.
func (m SourceMetrics) Admitted(encode time.Duration, bytes int) {
	m.admitted.Inc()
	m.inFlight.Inc()
	m.encode.Observe(encode.Seconds())
	if bytes > 0 {
		m.bytes.Observe(float64(bytes))
	}
}

// Seen observes the time from a frame's capture to its scene being seen.
func (m SourceMetrics) Seen(age time.Duration) { m.scene.Observe(age.Seconds()) }

// AfterExpiry counts a scene whose frame had left the account.
func (m SourceMetrics) AfterExpiry() { m.afterExpiry() }

// Republished counts a frame that is published again.
func (m SourceMetrics) Republished() { m.republished.Inc() }

// Close counts a frame that has its scene.
func (m SourceMetrics) Close(outcome flow.Outcome) {
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

// Skip counts a picture that is not admitted.
func (m SourceMetrics) Skip(reason string) { m.skipped(reason).Inc() }

// Drop counts a frame that will have no scene.
func (m SourceMetrics) Drop(reason string) {
	m.inFlight.Dec()
	m.dropped(reason).Inc()
}

// Stored observes how long a frame took to be stored.
func (m SourceMetrics) Stored(since time.Time) { m.publish.Observe(time.Since(since).Seconds()) }
