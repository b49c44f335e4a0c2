package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/spatial-flow/spatial-flow/flow"
)

// Overview is how everything does, as this gateway hears it: what GET /api/v1/status answers and the status page shows.
type Overview struct {
	Time     time.Time     `json:"time"`
	Groups   []GroupInfo   `json:"groups"`
	Services []ServiceInfo `json:"services"`
	Stages   []StageInfo   `json:"stages"`
	Sources  []SourceInfo  `json:"sources"`
	Gateway  Counters      `json:"gateway"`
	NATS     NATSInfo      `json:"nats"`
}

// GroupInfo is a worker group: the sums of its workers that are alive.
type GroupInfo struct {
	Group    string  `json:"group"`
	Slot     int     `json:"slot"`
	Task     string  `json:"task"` // detect, depth or other
	Need     string  `json:"need"` // required, optional or shadow
	On       bool    `json:"on"`   // false: left out
	Workers  int     `json:"workers"`
	Parallel int     `json:"parallel"` // frames in hand at once
	Rate     float64 `json:"rate"`     // frames finished per second, over the last second
	WaitMS   float64 `json:"wait_ms"`  // mean wait of those in the queue
	Busy     float64 `json:"busy"`     // share of the slots that worked, 0 to 1
}

// States of a service.
const (
	ServiceAlive = "alive"
	ServiceGone  = "gone" // not heard for more than 2.3 s; listed for a minute
)

// ServiceInfo is one process, or one part of a standalone, as it said last; see [flow.Alive].
type ServiceInfo struct {
	Stage    string  `json:"stage"`
	Instance string  `json:"instance"`
	Host     string  `json:"host"`
	State    string  `json:"state"`          // alive or gone
	HeardMS  int64   `json:"heard_ms"`       // since it was heard
	Note     string  `json:"note,omitempty"` // what it can't do now, and what mends that
	Model    string  `json:"model,omitempty"`
	Family   string  `json:"family,omitempty"`
	Provider string  `json:"provider,omitempty"`
	Parallel int     `json:"parallel,omitempty"`
	Rate     float64 `json:"rate"`
	WaitMS   float64 `json:"wait_ms"`
	Busy     float64 `json:"busy"`
}

// StageInfo is the times of a stage in each of the last 60 seconds, oldest first, in milliseconds; 0 where Scenes is 0.
type StageInfo struct {
	Stage   string    `json:"stage"`
	Scenes  []float64 `json:"scenes"`
	WaitP50 []float64 `json:"wait_p50_ms"`
	WaitP95 []float64 `json:"wait_p95_ms"`
	WorkP50 []float64 `json:"work_p50_ms"`
	WorkP95 []float64 `json:"work_p95_ms"`
}

// Counters are this gateway's own metrics: the same numbers that /metrics has.
type Counters struct {
	Viewers    float64            `json:"viewers"`
	Scenes     float64            `json:"scenes"`     // sent to viewers
	SentBytes  float64            `json:"sent_bytes"` // to viewers
	Drops      map[string]float64 `json:"drops"`      // for viewers, by reason
	Refused    map[string]float64 `json:"refused"`    // by door and reason
	LostOfNATS float64            `json:"lost"`       // messages from NATS that found the queue full
}

// NATSInfo is the connection to NATS and, at most 2 s old, what its streams hold.
type NATSInfo struct {
	Connected  bool         `json:"connected"`
	URL        string       `json:"url"` // without credentials
	Server     string       `json:"server"`
	Version    string       `json:"version"`
	RTTMS      float64      `json:"rtt_ms"`
	Reconnects uint64       `json:"reconnects"`
	Streams    []StreamInfo `json:"streams"`
	Error      string       `json:"error,omitempty"` // why Streams is old or empty
}

// StreamInfo is what a stream holds: of work queues, what is not done yet.
type StreamInfo struct {
	Stream    string `json:"stream"`
	Messages  uint64 `json:"messages"`
	Bytes     uint64 `json:"bytes"`
	MaxBytes  int64  `json:"max_bytes"` // -1: no bound
	Consumers int    `json:"consumers"`
}

const (
	overviewFor    = 100 * time.Millisecond // one answer is for everybody who asks within
	lookAtNATS     = 2 * time.Second
	lookAtNATSMost = time.Second
)

// overview makes answers of GET /api/v1/status.
type overview struct {
	g *gateway

	mu    sync.Mutex
	nats  NATSInfo
	until time.Time
	data  []byte
}

func newOverview(g *gateway) *overview {
	return &overview{g: g, nats: NATSInfo{Streams: []StreamInfo{}}}
}

func (o *overview) serve(w http.ResponseWriter, _ *http.Request) {
	data, err := o.encoded() // not written under its lock: whoever asked may be slow to read
	if err != nil {
		writeError(w, http.StatusInternalServerError, "the status can't be encoded")
		return
	}
	writeJSON(w, http.StatusOK, json.RawMessage(data))
}

// encoded is the answer as it is now, or was a moment ago. Nobody changes what is returned.
func (o *overview) encoded() ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now := time.Now(); now.After(o.until) {
		data, err := json.Marshal(o.now(now))
		if err != nil {
			return nil, err
		}
		o.data, o.until = data, now.Add(overviewFor)
	}
	return o.data, nil
}

// now is the overview, under o.mu.
func (o *overview) now(now time.Time) Overview {
	g := o.g
	d, _ := g.deployment()
	groups := d.Groups
	services := g.fleet.list(groups)
	infos := groupInfos(groups, services)
	conn := g.env.Bus.Conn()
	o.nats.Connected, o.nats.Reconnects = conn.IsConnected(), conn.Stats().Reconnects
	return Overview{
		Time: now.UTC(), Groups: infos, Services: services, Stages: g.stages.list(groups),
		Sources: waiting(g.hub.currentStatus().Sources, infos, services), NATS: o.nats,
		Gateway: Counters{
			Viewers: values(g.metrics.viewers)[""], Scenes: values(g.metrics.scenes)[""], SentBytes: values(g.metrics.bytes)[""],
			Drops: values(g.metrics.drops), Refused: values(g.metrics.refused), LostOfNATS: values(g.metrics.lost)[""],
		},
	}
}

// waiting adds to the sources that wait what for, as far as it can be told, and the way out.
func waiting(sources []SourceInfo, groups []GroupInfo, services []ServiceInfo) []SourceInfo {
	var missing []string
	for _, group := range groups {
		if group.On && group.Workers == 0 && group.Need == string(flow.NeedRequired) {
			missing = append(missing, "group "+group.Group)
		}
	}
	if !slices.ContainsFunc(services, func(s ServiceInfo) bool { return s.Stage == "fuser" && s.State == ServiceAlive }) {
		missing = append(missing, "a fuser")
	}
	for i, s := range sources {
		switch {
		case s.Waiting == "":
		case len(missing) > 0:
			sources[i].Waiting += ": waiting for " + strings.Join(missing, " and ")
		default:
			sources[i].Waiting += fmt.Sprintf(": see what the services say; to give the run up: spatialflow runs forget %s %s", s.Source, s.Session)
		}
	}
	return sources
}

// follow looks at NATS every 2 s until ctx ends.
func (o *overview) follow(ctx context.Context) error {
	for {
		info := o.look(ctx)
		o.mu.Lock()
		if info.Error != "" {
			info.Streams = o.nats.Streams
		}
		o.nats = info
		o.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(lookAtNATS):
		}
	}
}

func (o *overview) look(ctx context.Context) NATSInfo {
	ctx, cancel := context.WithTimeout(ctx, lookAtNATSMost)
	defer cancel()
	conn := o.g.env.Bus.Conn()
	info := NATSInfo{
		Connected: conn.IsConnected(), URL: conn.ConnectedUrlRedacted(), Server: conn.ConnectedServerName(),
		Version: conn.ConnectedServerVersion(), Streams: []StreamInfo{},
	}
	if !info.Connected {
		info.Error = "not connected"
		return info
	}
	if rtt, err := conn.RTT(); err == nil {
		info.RTTMS = milliseconds(rtt)
	}
	streams := o.g.env.Bus.JetStream().ListStreams(ctx)
	for s := range streams.Info() {
		name, ours := o.g.env.Bus.OwnStream(s.Config.Name)
		if !ours {
			continue
		}
		info.Streams = append(info.Streams, StreamInfo{
			Stream: name, Messages: s.State.Msgs, Bytes: s.State.Bytes, MaxBytes: s.Config.MaxBytes, Consumers: s.State.Consumers,
		})
	}
	if err := streams.Err(); err != nil {
		info.Error = fmt.Sprintf("list streams: %v", err)
	}
	return info
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
