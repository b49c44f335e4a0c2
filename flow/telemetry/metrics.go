package telemetry

import (
	"errors"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics that more than one service has are made here, so that their names, help and labels agree.

// StageBuckets are the bounds, in seconds, of spatialflow_stage_seconds.
var StageBuckets = []float64{.0002, .0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5}

// NewStageSeconds is the histogram spatialflow_stage_seconds of one stage, by step.
func NewStageSeconds(registry prometheus.Registerer, stage string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "spatialflow_stage_seconds", Help: "Time a frame spends in a step of a stage.",
		Buckets: StageBuckets, ConstLabels: prometheus.Labels{"stage": stage},
	}, []string{"step"})
	registry.MustRegister(h)
	return h
}

// NewEndToEnd is the histogram spatialflow_end_to_end_seconds; to is scene or viewer.
func NewEndToEnd(registry prometheus.Registerer, to string, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "spatialflow_end_to_end_seconds", Help: "Time from a frame's capture until its scene was stored, or sent to a viewer.",
		Buckets:     []float64{.005, .01, .02, .033, .05, .066, .1, .15, .2, .3, .5, .75, 1, 1.5, 2, 5},
		ConstLabels: prometheus.Labels{"to": to},
	}, labels)
	registry.MustRegister(h)
	return h
}

// NewRefused is the counter spatialflow_refused_total, by door and reason; the one that the registry has, if it has it.
func NewRefused(registry prometheus.Registerer) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "spatialflow_refused_total", Help: "Bad input that was turned away.",
	}, []string{"door", "reason"})
	return registered(registry, c)
}

// registered is the collector, or the same one that the registry has already.
func registered[C prometheus.Collector](registry prometheus.Registerer, c C) C {
	var there prometheus.AlreadyRegisteredError
	if err := registry.Register(c); errors.As(err, &there) {
		return there.ExistingCollector.(C)
	} else if err != nil {
		panic(err) // a mistake in the declaration
	}
	return c
}

// newExpires is the gauge spatialflow_certificate_expires_timestamp_seconds, by door; the one that the registry has, if it has it.
func newExpires(registry prometheus.Registerer) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "spatialflow_certificate_expires_timestamp_seconds", Help: "When the certificate of an address, as it was read last, expires (Unix time).",
	}, []string{"door"})
	return registered(registry, g)
}

// NewRedeliveries is the counter spatialflow_redeliveries_total of one stage, by group.
func NewRedeliveries(registry prometheus.Registerer, stage string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "spatialflow_redeliveries_total", Help: "Messages that came more than once.",
		ConstLabels: prometheus.Labels{"stage": stage},
	}, []string{"group"})
	registry.MustRegister(c)
	return c
}

// NewBuildInfo is the gauge spatialflow_build_info, which is 1.
func NewBuildInfo(registry prometheus.Registerer, version, revision string) {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "spatialflow_build_info", Help: "What was built.",
		ConstLabels: prometheus.Labels{"version": version, "revision": revision, "go": runtime.Version()},
	})
	info.Set(1)
	registry.MustRegister(info)
}

// NewNATSConnected is the gauge spatialflow_nats_connected; connected is asked for each scrape.
func NewNATSConnected(registry prometheus.Registerer, connected func() bool) {
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "spatialflow_nats_connected", Help: "1 while the service is connected to NATS, else 0.",
	}, func() float64 {
		if connected() {
			return 1
		}
		return 0
	}))
}
