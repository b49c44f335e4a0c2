package metrics_test

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/template"
)

func rules(t *testing.T) []rulefmt.Rule {
	t.Helper()
	paths, err := filepath.Glob(files + "/rules/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no rules: %v", err)
	}
	var all []rulefmt.Rule
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		groups, errs := rulefmt.Parse(content, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
		for _, err := range errs {
			t.Errorf("%s: %v", path, err)
		}
		if t.Failed() {
			t.FailNow()
		}
		for _, group := range groups.Groups {
			all = append(all, group.Rules...)
		}
	}
	return all
}

var labelUsed = regexp.MustCompile(`\$labels\.(\w+)`)

func TestRules(t *testing.T) {
	names := map[string]bool{}
	for _, rule := range rules(t) {
		if !strings.HasPrefix(rule.Alert, "SpatialFlow") || names[rule.Alert] {
			t.Errorf("alert %q: another name, please", rule.Alert)
		}
		names[rule.Alert] = true
		if _, err := read(t).Check(rule.Expr); err != nil {
			t.Errorf("%s: %v", rule.Alert, err)
		}
		if !slices.Contains([]string{"critical", "warning", "info"}, rule.Labels["severity"]) {
			t.Errorf("%s: severity %q", rule.Alert, rule.Labels["severity"])
		}
		keys := slices.Sorted(maps.Keys(rule.Annotations))
		if !slices.Equal(keys, []string{"action", "description", "summary"}) {
			t.Errorf("%s: annotations %v", rule.Alert, keys)
		}
	}
}

// behaviour is what an alert does with some series, a sample every 15 s.
type behaviour struct {
	fires string // series that make it fire
	after time.Duration
	quiet string // series that don't
}

// The counters grow by 15 a step for one a second. x40 is ten minutes.
var alerts = map[string]behaviour{
	"SpatialFlowNoScenes": {
		fires: `spatialflow_frames_total{source="a", outcome="complete"} 0+15x20 300x100
			spatialflow_frames_in_flight{source="a"} 4x120`,
		after: 8 * time.Minute, // no scene since the fifth
		quiet: `spatialflow_frames_total{source="a", outcome="complete"} 300x120
			spatialflow_frames_in_flight{source="a"} 0x120`, // a film that has ended
	},
	"SpatialFlowEndToEndSlow": {
		fires: `spatialflow_end_to_end_seconds_bucket{to="scene", source="a", le="2"} 0+10x120
			spatialflow_end_to_end_seconds_bucket{to="scene", source="a", le="5"} 0+15x120
			spatialflow_end_to_end_seconds_bucket{to="scene", source="a", le="+Inf"} 0+15x120
			spatialflow_frames_total{source="a", outcome="skipped", reason="overtaken"} 0+1x120`,
		after: 6 * time.Minute,
		quiet: `spatialflow_end_to_end_seconds_bucket{to="scene", source="a", le="1"} 0+15x120
			spatialflow_end_to_end_seconds_bucket{to="scene", source="a", le="+Inf"} 0+15x120
			spatialflow_frames_total{source="a", outcome="skipped", reason="overtaken"} 0+1x120
			spatialflow_end_to_end_seconds_bucket{to="scene", source="film", le="2"} 0x120
			spatialflow_end_to_end_seconds_bucket{to="scene", source="film", le="5"} 0+15x120
			spatialflow_end_to_end_seconds_bucket{to="scene", source="film", le="+Inf"} 0+15x120
			spatialflow_end_to_end_seconds_bucket{to="viewer", le="1"} 0x120
			spatialflow_end_to_end_seconds_bucket{to="viewer", le="+Inf"} 0+15x120`,
	},
	"SpatialFlowPartialScenes": {
		fires: `spatialflow_frames_total{source="a", outcome="partial"} 0+1x120
			spatialflow_frames_total{source="a", outcome="complete"} 0+15x120`,
		after: 6 * time.Minute,
		quiet: `spatialflow_frames_total{source="a", outcome="partial"} 0+1x120
			spatialflow_frames_total{source="a", outcome="complete"} 0+30x120`,
	},
	"SpatialFlowErrorScenes": {
		fires: `spatialflow_frames_total{source="a", outcome="error"} 0+1x120
			spatialflow_frames_total{source="a", outcome="complete"} 0+50x120`,
		after: 6 * time.Minute,
		quiet: `spatialflow_frames_total{source="a", outcome="error"} 0 1x120
			spatialflow_frames_total{source="a", outcome="complete"} 0+50x120`,
	},
	"SpatialFlowFramesDropped": {
		fires: `spatialflow_frames_total{source="a", outcome="dropped", reason="expired"} 0+1x120
			spatialflow_frames_total{source="a", outcome="dropped", reason="other"} 0+1x120
			spatialflow_frames_total{source="a", outcome="admitted"} 0+15x120`,
		after: 6 * time.Minute,
		quiet: `spatialflow_frames_total{source="a", outcome="skipped", reason="overtaken"} 0+15x120
			spatialflow_frames_total{source="a", outcome="admitted"} 0+15x120`,
	},
	"SpatialFlowSourceSilent": {
		fires: `spatialflow_frames_total{source="a", outcome="captured"} 0+15x20 300x100`,
		after: 12 * time.Minute,
		quiet: `spatialflow_frames_total{source="a", outcome="captured"} 0+15x120`,
	},
	"SpatialFlowNATSDisconnected": {
		fires: `spatialflow_nats_connected{job="fuser", instance="f"} 0x120`,
		after: 75 * time.Second,
		quiet: `spatialflow_nats_connected{job="fuser", instance="f"} 1x20 0x2 1x100`, // 45 s away
	},
	"SpatialFlowGroupGone": {
		fires: `spatialflow_model_info{group="depth"} 1x8 _x100
			spatialflow_model_info{group="detect"} 1x120`,
		after: 13 * time.Minute,
		quiet: `spatialflow_model_info{group="depth"} 1x120`,
	},
	"SpatialFlowNotScraped": {
		fires: `up{job="other"} 1x120`,
		after: 6 * time.Minute,
		quiet: `spatialflow_build_info{job="fuser"} 1x120`,
	},
	"SpatialFlowWorkersBusy": {
		fires: `spatialflow_worker_busy_ratio{group="depth", instance="a"} 1x120
			spatialflow_worker_busy_ratio{group="depth", instance="b"} 0.98x120`,
		after: 16 * time.Minute,
		quiet: `spatialflow_worker_busy_ratio{group="depth", instance="a"} 1x120
			spatialflow_worker_busy_ratio{group="depth", instance="b"} 0.4x120`,
	},
	"SpatialFlowRedeliveries": {
		fires: `spatialflow_redeliveries_total{stage="depth", group="depth"} 0+3x120`,
		after: 13 * time.Minute,
		quiet: `spatialflow_redeliveries_total{stage="depth", group="depth"} 0x20 40x100`, // one restart
	},
	"SpatialFlowRepaired": {
		fires: `spatialflow_provision_repaired_total{kind="consumer"} 0x8 2x112`,
		after: 4 * time.Minute,
		quiet: `spatialflow_provision_repaired_total{kind="consumer"} 5x120`,
	},
	"SpatialFlowInputRefused": {
		fires: `spatialflow_refused_total{door="predict", reason="malformed"} 0+30x120`,
		after: 13 * time.Minute,
		quiet: `spatialflow_refused_total{door="predict", reason="malformed"} 0+3x120`,
	},
	"SpatialFlowCertificateExpires": {
		fires: `spatialflow_certificate_expires_timestamp_seconds{door="http", pod="gateway"} 600000x120`,
		after: 11 * time.Minute,
		quiet: `spatialflow_certificate_expires_timestamp_seconds{door="http", pod="gateway"} 700000x120`,
	},
	"SpatialFlowPredictFailing": {
		fires: `spatialflow_predict_failed_total{reason="missing"} 0+30x120`,
		after: 13 * time.Minute,
		quiet: `spatialflow_predict_failed_total{reason="gone"} 0+30x120`,
	},
	"SpatialFlowGatewayOverloaded": {
		fires: `spatialflow_gateway_lost_total{instance="g"} 0+1x120`,
		after: 6 * time.Minute,
		quiet: `spatialflow_gateway_lost_total{instance="g"} 7x120`,
	},
	"SpatialFlowNATSStorage": {
		fires: `nats_server_total_message_bytes{server_name="n"} 90x120
			nats_server_max_storage{server_name="n"} 100x120`,
		after: 6 * time.Minute,
		quiet: `nats_server_total_message_bytes{server_name="n"} 70x120
			nats_server_max_storage{server_name="n"} 100x120
			nats_server_total_message_bytes{server_name="unlimited"} 70x120
			nats_server_max_storage{server_name="unlimited"} 0x120`,
	},
	"SpatialFlowGroupLags": {
		fires: `nats_consumer_num_pending{stream_name="FRAMES_LIVE", consumer_name="depth", is_consumer_leader="true"} 9x120
			nats_consumer_num_ack_pending{stream_name="FRAMES_LIVE", consumer_name="depth", is_consumer_leader="true"} 0x120
			nats_consumer_num_waiting{stream_name="FRAMES_LIVE", consumer_name="depth", is_consumer_leader="true"} 0x120`,
		after: 3 * time.Minute,
		quiet: `nats_consumer_num_pending{stream_name="FRAMES_LIVE", consumer_name="depth", is_consumer_leader="true"} 9x120
			nats_consumer_num_ack_pending{stream_name="FRAMES_LIVE", consumer_name="depth", is_consumer_leader="true"} 2x120
			nats_consumer_num_waiting{stream_name="FRAMES_LIVE", consumer_name="depth", is_consumer_leader="true"} 0x120`, // busy
	},
	"SpatialFlowNATSSlowConsumers": {
		fires: `nats_varz_slow_consumers{server_id="n"} 0x8 2x112`,
		after: 4 * time.Minute,
		quiet: `nats_varz_slow_consumers{server_id="n"} 5x120`,
	},
	"SpatialFlowGPUError": {
		fires: `DCGM_FI_DEV_XID_ERRORS{Hostname="h", gpu="0"} 79x120`,
		after: 2 * time.Minute,
		quiet: `DCGM_FI_DEV_XID_ERRORS{Hostname="h", gpu="0"} 0x120`,
	},
}

const step = 15 * time.Second

func TestAlertsFire(t *testing.T) {
	known := map[string]bool{}
	for _, rule := range rules(t) {
		known[rule.Alert] = true
		t.Run(rule.Alert, func(t *testing.T) {
			want, ok := alerts[rule.Alert]
			if !ok {
				t.Fatal("nothing here says what makes it fire, and what does not")
			}
			if at, labels := firstFiring(t, rule, want.fires); at < 0 || at > want.after || at < time.Duration(rule.For) {
				t.Errorf("fires after %v, want at most %v", at, want.after)
			} else {
				annotations(t, rule, labels)
			}
			if at, _ := firstFiring(t, rule, want.quiet); at >= 0 {
				t.Errorf("fires after %v where it must not", at)
			}
		})
	}
	for name := range alerts {
		if !known[name] {
			t.Errorf("there is no alert %s", name)
		}
	}
}

// firstFiring is when a rule begins to fire, and for which series; negative: never in half an hour.
func firstFiring(t *testing.T, rule rulefmt.Rule, series string) (time.Duration, map[string]string) {
	t.Helper()
	storage := promqltest.LoadedStorage(t, "load 15s\n\t"+strings.TrimSpace(series)+"\n")
	defer storage.Close()
	engine := promqltest.NewTestEngine(t, false, 0, 100_000)
	active := map[string]time.Duration{}
	for at := time.Duration(0); at <= 30*time.Minute; at += step {
		query, err := engine.NewInstantQuery(context.Background(), storage, nil, rule.Expr, time.Unix(0, 0).Add(at))
		if err != nil {
			t.Fatal(err)
		}
		result := query.Exec(context.Background())
		if result.Err != nil {
			t.Fatal(result.Err)
		}
		now := map[string]time.Duration{}
		for _, sample := range result.Value.(promql.Vector) {
			key := sample.Metric.String()
			since, was := active[key]
			if !was {
				since = at
			}
			if at-since >= time.Duration(rule.For) {
				labels := sample.Metric.Map()
				query.Close()
				return at, labels
			}
			now[key] = since
		}
		query.Close()
		active = now
	}
	return -1, nil
}

// annotations must expand, and name only labels that a firing series has.
func annotations(t *testing.T, rule rulefmt.Rule, labels map[string]string) {
	t.Helper()
	for name, annotation := range rule.Annotations {
		for _, used := range labelUsed.FindAllStringSubmatch(annotation, -1) {
			// namespace, job and instance come with the scrape.
			if _, ok := labels[used[1]]; !ok && !slices.Contains([]string{"namespace", "job", "instance"}, used[1]) {
				t.Errorf("%s uses label %s; what fires has %v", name, used[1], labels)
			}
		}
		defs := "{{$labels := .Labels}}{{$value := .Value}}"
		data := template.AlertTemplateData(labels, nil, "", promql.Sample{F: 0.5})
		text, err := template.NewTemplateExpander(context.Background(), defs+annotation, name, data, 0, nil, nil, nil).Expand()
		if err != nil || strings.TrimSpace(text) == "" || strings.Contains(text, "<no value>") {
			t.Errorf("%s expands to %q: %v", name, text, err)
		}
	}
}
