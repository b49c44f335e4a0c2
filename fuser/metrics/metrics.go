// Package metrics is what a fuser counts.
package metrics

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/spatial-flow/spatial-flow/flow/telemetry"
	"github.com/spatial-flow/spatial-flow/fuser/join"
)

// Metrics are a fuser's, of all its partitions.
type Metrics struct {
	Seconds     *prometheus.HistogramVec // by step: join, publish
	Refused     *prometheus.CounterVec   // by reason
	Redelivered *prometheus.CounterVec   // by group
	Late        *prometheus.CounterVec   // by group
	Pushed      prometheus.Counter
	Shadows     *prometheus.CounterVec // by group
	Scenes      *Rate
}

// New registers a fuser's metrics.
func New(registry prometheus.Registerer) Metrics {
	late := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "spatialflow_late_total", Help: "Results of live frames that came after their frame's scene.",
	}, []string{"group"})
	pushed := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "spatialflow_pushed_total", Help: "Live frames that went out before their deadline because there was no room.",
	})
	shadows := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "spatialflow_shadow_results_total", Help: "Results of shadow groups that were there when their frame's scene was made.",
	}, []string{"group"})
	registry.MustRegister(late, pushed, shadows)
	return Metrics{
		Late: late, Pushed: pushed, Shadows: shadows, Scenes: new(Rate),
		Seconds: telemetry.NewStageSeconds(registry, join.Stage),
		Refused: telemetry.NewRefused(registry), Redelivered: telemetry.NewRedeliveries(registry, join.Stage),
	}
}

// CountShadows counts the results of a frame that no scene shows.
func (m Metrics) CountShadows(joined join.Joined, needs join.Needs) {
	for _, r := range joined.Results {
		if needs[r.Group] == join.Shadow {
			m.Shadows.WithLabelValues(r.Group).Inc()
		}
	}
}

// Rate counts scenes since it was last asked.
type Rate struct{ n atomic.Int64 }

// Add counts one scene.
func (r *Rate) Add() { r.n.Add(1) }

// Reset is how many scenes were counted since it was last asked.
func (r *Rate) Reset() int64 { return r.n.Swap(0) }
