package metrics

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

// Others adds what is not in our source: what Go's client library exports for every program, and the exporters of NATS
// and of NVIDIA, which a deployment may have.
func (e *Exported) Others() error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	families, err := registry.Gather()
	if err != nil {
		return err
	}
	for _, family := range families {
		e.Metrics[family.GetName()] = Metric{}
	}
	for name, labels := range exporters {
		e.Metrics[name] = Metric{Labels: labels}
	}
	return nil
}

var (
	natsServer   = []string{"server_id"}
	natsJS       = []string{"server_id", "server_name", "cluster", "domain", "meta_leader", "is_meta_leader"}
	natsStream   = append(slices.Clone(natsJS), "account", "account_id", "stream_name", "stream_leader", "is_stream_leader")
	natsConsumer = append(slices.Clone(natsStream), "consumer_name", "consumer_leader", "is_consumer_leader", "consumer_desc", "consumer_created")
	dcgm         = []string{"gpu", "UUID", "device", "modelName", "Hostname"}
)

// exporters: what prometheus-nats-exporter 0.17 exports with -prefix=nats -varz -jsz=all (its collector/jsz.go, and the
// numbers of /varz), and dcgm-exporter by default (etc/default-counters.csv); of both what is used here.
var exporters = map[string][]string{
	"nats_varz_connections": natsServer, "nats_varz_slow_consumers": natsServer, "nats_varz_mem": natsServer, "nats_varz_cpu": natsServer,
	"nats_varz_in_msgs": natsServer, "nats_varz_out_msgs": natsServer, "nats_varz_in_bytes": natsServer, "nats_varz_out_bytes": natsServer,
	"nats_server_total_streams": natsJS, "nats_server_total_consumers": natsJS,
	"nats_server_total_message_bytes": natsJS, "nats_server_max_storage": natsJS,
	"nats_stream_total_messages": natsStream, "nats_stream_total_bytes": natsStream,
	"nats_consumer_num_pending": natsConsumer, "nats_consumer_num_ack_pending": natsConsumer,
	"nats_consumer_num_redelivered": natsConsumer, "nats_consumer_num_waiting": natsConsumer,

	"DCGM_FI_DEV_GPU_UTIL": dcgm, "DCGM_FI_DEV_MEM_COPY_UTIL": dcgm, "DCGM_FI_DEV_FB_USED": dcgm, "DCGM_FI_DEV_POWER_USAGE": dcgm,
	"DCGM_FI_DEV_GPU_TEMP": dcgm, "DCGM_FI_DEV_XID_ERRORS": dcgm,
}

// target are the labels that Prometheus adds to what it scrapes.
var target = []string{"namespace", "pod", "container", "job", "instance", "endpoint"}

var promQL = parser.NewParser(parser.Options{})

// Query is what a query asks for.
type Query struct {
	Metrics []string // by the names of the programs, without _bucket, _sum and _count
	Foreign bool     // one of them is an exporter's
}

// Check parses a query and says what is wrong with it: a metric that nobody exports, a label that the metric does not
// have, a value of a label that no program writes, a counter without a rate, a rate of a gauge.
func (e *Exported) Check(query string) (Query, error) {
	var asked Query
	expr, err := promQL.ParseExpr(query)
	if err != nil {
		return asked, fmt.Errorf("%s: %w", query, err)
	}
	var errs []error
	parser.Inspect(expr, func(node parser.Node, path []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			name, err := e.selector(n, rated(path))
			errs = append(errs, err)
			asked.Metrics = append(asked.Metrics, name)
			asked.Foreign = asked.Foreign || exporters[name] != nil
		case *parser.AggregateExpr:
			errs = append(errs, e.grouping(n.Expr, n.Grouping))
		case *parser.BinaryExpr:
			if n.VectorMatching != nil {
				errs = append(errs, e.grouping(n.LHS, n.VectorMatching.MatchingLabels), e.grouping(n.RHS, n.VectorMatching.MatchingLabels))
			}
		}
		return nil
	})
	if err := errors.Join(errs...); err != nil {
		return asked, fmt.Errorf("%s: %w", query, err)
	}
	return asked, nil
}

// rated tells whether a selector's growth is what is asked for. path are the nodes above it.
func rated(path []parser.Node) bool {
	if len(path) < 2 {
		return false
	}
	call, ok := path[len(path)-2].(*parser.Call)
	return ok && slices.Contains([]string{"rate", "irate", "increase"}, call.Func.Name)
}

// lookup finds a series' metric by its name and the labels it has.
func (e *Exported) lookup(series string) (name string, labels []string, kind string, err error) {
	if metric, ok := e.Metrics[series]; ok && metric.Kind != "histogram" {
		return series, metric.Labels, metric.Kind, nil
	}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		base, cut := strings.CutSuffix(series, suffix)
		if metric := e.Metrics[base]; cut && metric.Kind == "histogram" {
			labels = metric.Labels
			if suffix == "_bucket" {
				labels = append(slices.Clone(labels), "le")
			}
			return base, labels, "counter", nil
		}
	}
	return series, nil, "", fmt.Errorf("no program exports %s", series)
}

var plainWords = regexp.MustCompile(`^[a-z_]+(\|[a-z_]+)*$`)

func (e *Exported) selector(v *parser.VectorSelector, rated bool) (string, error) {
	name, has, kind, err := e.lookup(v.Name)
	if err != nil {
		return name, err
	}
	var errs []error
	switch {
	case kind == "counter" && !rated:
		errs = append(errs, fmt.Errorf("%s only ever grows: ask for its rate", v.Name))
	case kind == "gauge" && rated:
		errs = append(errs, fmt.Errorf("%s is a gauge: it has no rate", v.Name))
	}
	for _, matcher := range v.LabelMatchers {
		switch {
		case matcher.Name == model.MetricNameLabel || slices.Contains(target, matcher.Name):
		case !slices.Contains(has, matcher.Name):
			errs = append(errs, fmt.Errorf("%s has no label %s", v.Name, matcher.Name))
		case e.Metrics[name].Ours && plainWords.MatchString(matcher.Value):
			for _, word := range strings.Split(matcher.Value, "|") {
				if !e.words[word] {
					errs = append(errs, fmt.Errorf("no program writes %s=%q into %s", matcher.Name, word, v.Name))
				}
			}
		}
	}
	return name, errors.Join(errs...)
}

// grouping checks labels that the series below are grouped or matched by: one of them must have each.
func (e *Exported) grouping(below parser.Node, by []string) error {
	known := slices.Clone(target)
	parser.Inspect(below, func(node parser.Node, _ []parser.Node) error {
		if v, ok := node.(*parser.VectorSelector); ok {
			_, has, _, _ := e.lookup(v.Name)
			known = append(known, has...)
		}
		return nil
	})
	for _, label := range by {
		if !slices.Contains(known, label) {
			return fmt.Errorf("nothing has label %s in %s", label, below)
		}
	}
	return nil
}
