package metrics_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/spatial-flow/spatial-flow/charts/tests/metrics"
)

const root = "../../.."

var exported = sync.OnceValues(func() (*metrics.Exported, error) {
	e, err := metrics.Read(root)
	if err != nil {
		return nil, err
	}
	return e, e.Others()
})

func read(t *testing.T) *metrics.Exported {
	t.Helper()
	e, err := exported()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Some of each way in which metrics are made: if these are right, the reader understands the source.
func TestMetricsOfTheSource(t *testing.T) {
	e := read(t)
	for name, want := range map[string]metrics.Metric{
		"spatialflow_frames_total":        {Kind: "counter", Labels: []string{"outcome", "reason", "source"}},
		"spatialflow_stage_seconds":       {Kind: "histogram", Labels: []string{"stage", "step"}},
		"spatialflow_end_to_end_seconds":  {Kind: "histogram", Labels: []string{"source", "to"}},
		"spatialflow_model_info":          {Kind: "gauge", Labels: []string{"family", "file", "group", "provider"}},
		"spatialflow_dropped_total":       {Kind: "counter", Labels: []string{"group", "reason"}},
		"spatialflow_http_requests_total": {Kind: "counter", Labels: []string{"code", "method", "route"}},
		"spatialflow_viewers":             {Kind: "gauge"},
		"spatialflow_pushed_total":        {Kind: "counter"},
	} {
		got := e.Metrics[name]
		slices.Sort(got.Labels)
		if got.Kind != want.Kind || !slices.Equal(got.Labels, want.Labels) || !got.Ours {
			t.Errorf("%s is %+v, want %+v", name, got, want)
		}
	}
}

func TestCheck(t *testing.T) {
	e := read(t)
	for query, want := range map[string]string{
		`sum by (source) (rate(spatialflow_frames_total{outcome="captured"}[1m]))`:                         "",
		`histogram_quantile(0.9, sum by (le) (rate(spatialflow_stage_seconds_bucket{stage="fuser"}[1m])))`: "",
		`sum by (job) (process_resident_memory_bytes and on (job, instance) spatialflow_build_info)`:       "",
		`rate(spatialflow_frame_total[1m])`:                                                                "no program exports spatialflow_frame_total",
		`rate(spatialflow_stage_seconds[1m])`:                                                              "no program exports spatialflow_stage_seconds",
		`rate(spatialflow_viewers_count[1m])`:                                                              "no program exports spatialflow_viewers_count",
		`rate(spatialflow_frames_total{mode="live"}[1m])`:                                                  "has no label mode",
		`rate(spatialflow_frames_total{outcome="capturd"}[1m])`:                                            `no program writes outcome="capturd"`,
		`rate(spatialflow_frames_total{outcome=~"captured|skiped"}[1m])`:                                   `no program writes outcome="skiped"`,
		`sum by (group) (rate(spatialflow_frames_total[1m]))`:                                              "nothing has label group",
		`sum by (le) (rate(spatialflow_stage_seconds_sum[1m]))`:                                            "nothing has label le",
		`spatialflow_viewers * on (group) spatialflow_model_info`:                                          "nothing has label group",
		`sum(spatialflow_frames_total)`:                                                                    "only ever grows",
		`rate(spatialflow_viewers[1m])`:                                                                    "is a gauge",
		`max(avg_over_time(spatialflow_viewers[1m]))`:                                                      "",
		`avg_over_time(spatialflow_frames_total[1m])`:                                                      "only ever grows",
		`sum(`: "parse error",
		`max(nats_consumer_num_pending{stream="X"})`: "has no label stream",
	} {
		_, err := e.Check(query)
		switch {
		case want == "" && err != nil:
			t.Error(err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", query, err, want)
		}
	}
}
