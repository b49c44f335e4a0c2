// Package overview is how everything does, as a gateway hears it.
package overview

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/gateway/access"
	"github.com/spatial-flow/spatial-flow/gateway/live"
)

// Overview is how everything does, as this gateway hears it: what GET /api/v1/status answers and the status page shows.
type Overview struct {
	Time     time.Time     `json:"time"`
	Groups   []GroupInfo   `json:"groups"`
	Services []ServiceInfo `json:"services"`
	Stages   []StageInfo   `json:"stages"`
	Sources  []api.Source  `json:"sources"`
	Gateway  live.Counters `json:"gateway"`
	NATS     NATSInfo      `json:"nats"`
	// Restricted says that who asked sees some of the sources only: of all that counts others, or may name them, nothing is told, so that
	// services, stages and streams are empty and the numbers of groups, gateway and NATS are 0.
	Restricted bool `json:"restricted,omitempty"`
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
	Stage    string `json:"stage"`
	Instance string `json:"instance"`
	Host     string `json:"host"`
	State    string `json:"state"`          // alive or gone
	HeardMS  int64  `json:"heard_ms"`       // since it was heard
	Note     string `json:"note,omitempty"` // what it can't do now, and what mends that
	Model    string `json:"model,omitempty"`
	Family   string `json:"family,omitempty"`
	Provider string `json:"provider,omitempty"`
	// Understood is what a worker takes its model for, and where that runs.
	Understood string  `json:"understood,omitempty"`
	Parallel   int     `json:"parallel,omitempty"`
	Rate       float64 `json:"rate"`
	WaitMS     float64 `json:"wait_ms"`
	Busy       float64 `json:"busy"`
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

// Observer makes answers of GET /api/v1/status.
type Observer struct {
	bus        *bus.Bus
	live       *live.Server
	deployment func() (flow.Deployment, bool)
	fleet      *fleet
	stages     *stageTimes

	mu    sync.Mutex
	nats  NATSInfo
	until time.Time
	made  Overview
	data  []byte // made, encoded
}

// New makes an observer that has heard nothing yet. deployment is what everybody agrees on now.
func New(b *bus.Bus, l *live.Server, deployment func() (d flow.Deployment, ok bool)) *Observer {
	return &Observer{bus: b, live: l, deployment: deployment, fleet: newFleet(), stages: newStageTimes(), nats: NATSInfo{Streams: []StreamInfo{}}}
}

// Run looks at NATS and ends the seconds of the stages' times until ctx ends.
func (o *Observer) Run(ctx context.Context) error {
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error { return o.follow(ctx) })
	tasks.Go(func() error { return o.tick(ctx) })
	return tasks.Wait()
}

// AddScene notes the times of a scene's stages.
func (o *Observer) AddScene(scene *flow.Scene) { o.stages.add(scene, time.Now()) }

// AddAlive notes that a service is alive. False is returned when there is no room for another one, or for all that it says.
func (o *Observer) AddAlive(alive flow.Alive) bool { return o.fleet.add(alive) }

// tick ends a second of the stages' times, once a second.
func (o *Observer) tick(ctx context.Context) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		o.stages.tick()
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Encoded is the [Overview] as JSON, as it is now, or was a moment ago, as far as it is somebody's to know. Nobody changes what is
// returned.
func (o *Observer) Encoded(who *access.Caller) ([]byte, error) {
	o.mu.Lock()
	if now := time.Now(); now.After(o.until) {
		made := o.now(now)
		data, err := json.Marshal(made)
		if err != nil {
			o.mu.Unlock()
			return nil, err
		}
		o.made, o.data, o.until = made, data, now.Add(overviewFor)
	}
	made, data := o.made, o.data
	o.mu.Unlock()
	if who.SeesAll() {
		return data, nil
	}
	return json.Marshal(made.restricted(who))
}

// restricted is what somebody is told who sees some of the sources only.
func (o Overview) restricted(who *access.Caller) Overview {
	told := Overview{
		Time: o.Time, Restricted: true, Groups: make([]GroupInfo, len(o.Groups)), Services: []ServiceInfo{}, Stages: []StageInfo{}, Sources: []api.Source{},
		Gateway: live.Counters{Drops: map[string]float64{}, Refused: map[string]float64{}}, NATS: NATSInfo{Connected: o.NATS.Connected, Streams: []StreamInfo{}},
	}
	for i, g := range o.Groups {
		told.Groups[i] = GroupInfo{Group: g.Group, Slot: g.Slot, Task: g.Task, Need: g.Need, On: g.On, Workers: g.Workers}
	}
	for _, s := range o.Sources {
		if who.Sees(s.Source) {
			told.Sources = append(told.Sources, s)
		}
	}
	return told
}

// now is the overview, under o.mu.
func (o *Observer) now(now time.Time) Overview {
	d, _ := o.deployment()
	groups := d.Groups
	services := o.fleet.list(groups)
	infos := groupInfos(groups, services)
	conn := o.bus.Conn()
	o.nats.Connected, o.nats.Reconnects = conn.IsConnected(), conn.Stats().Reconnects
	return Overview{
		Time: now.UTC(), Groups: infos, Services: services, Stages: o.stages.list(groups),
		Sources: waiting(o.live.Status(nil).Sources, infos, services), NATS: o.nats, Gateway: o.live.Counters(),
	}
}

// waiting adds to the sources that wait what for, as far as it can be told, and the way out.
func waiting(sources []api.Source, groups []GroupInfo, services []ServiceInfo) []api.Source {
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
func (o *Observer) follow(ctx context.Context) error {
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

func (o *Observer) look(ctx context.Context) NATSInfo {
	ctx, cancel := context.WithTimeout(ctx, lookAtNATSMost)
	defer cancel()
	conn := o.bus.Conn()
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
	d, _ := o.deployment()
	streams, err := o.bus.Streams(ctx, d)
	for _, s := range streams {
		info.Streams = append(info.Streams, StreamInfo{
			Stream: s.Name, Messages: s.State.Msgs, Bytes: s.State.Bytes, MaxBytes: s.Most, Consumers: s.State.Consumers,
		})
	}
	if err != nil {
		info.Error = err.Error()
	}
	return info
}
