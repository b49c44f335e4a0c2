// Package live shows scenes as they come: it pairs each with its picture by frame ID and pushes both to viewers over
// websockets.
//
// A viewer that is too slow never holds anybody up: it has a slot per source for the newest scene and the newest
// depth map, and what is overtaken there is dropped and counted.
package live

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/gateway/access"
	"github.com/spatial-flow/spatial-flow/gateway/live/smaller"
)

// Server hands scenes to viewers.
type Server struct {
	cfg        Config
	env        service.Env
	deployment func() (flow.Deployment, bool)
	listen     Listeners
	metrics    *metrics
	gate       *access.Gate
	hub        *hub
	lobby      access.Lobby

	queue    chan *nats.Msg
	lookUps  *lookUps
	watching watching
	smaller  *smaller.Maker
	drawing  chan struct{} // holds a token per picture that is drawn on
	serving  sync.WaitGroup

	newer      atomic.Int64 // when a scene came that this gateway does not understand, in seconds since 1970; 0: never
	lost       int          // of Subscribe alone
	reconnects uint64
}

// Listeners are told what comes beside viewers. They must not block.
type Listeners struct {
	// Scene is told of every scene, also of those of pictures that were posted, which no viewer gets.
	Scene func(*flow.Scene)
	// Alive is told what a service says of itself, and says whether there was room for it.
	Alive func(flow.Alive) bool
	// Predictions is the source of the pictures that were posted to this gateway. Those of others are not looked at.
	Predictions string
}

// New makes a server that knows nothing yet, for viewers whom the gate lets in. deployment is what everybody agrees on now; ok is false while it is not known.
func New(cfg Config, env service.Env, refused *prometheus.CounterVec, gate *access.Gate, deployment func() (d flow.Deployment, ok bool), listen Listeners) *Server {
	m := newMetrics(env.Metrics, refused)
	s := &Server{
		cfg: cfg, env: env, deployment: deployment, listen: listen, metrics: m, gate: gate, hub: newHub(cfg, m),
		queue: make(chan *nats.Msg, cfg.Queue), lookUps: newLookUps(cfg.MaxSources),
		smaller: smaller.New(max(runtime.GOMAXPROCS(0)/2, 1)), drawing: make(chan struct{}, max(runtime.GOMAXPROCS(0)/2, 1)),
	}
	s.watching.changed = make(chan struct{}, 1)
	s.hub.refresh = s.refresh
	s.hub.changed = s.watching.change
	return s
}

// Run hands on what [Server.Subscribe] takes in, until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error { return s.ingest(ctx) })
	tasks.Go(func() error { return s.learn(ctx) })
	tasks.Go(func() error { return s.tick(ctx) })
	return tasks.Wait()
}

// Wait returns once no viewer is served.
func (s *Server) Wait() { s.serving.Wait() }

// tick ends a second of the sources' rates, once a second.
func (s *Server) tick(ctx context.Context) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		s.hub.tick()
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Status is the status of all sources that somebody sees.
func (s *Server) Status(who *access.Caller) api.Status {
	status := s.hub.currentStatus()
	if !who.SeesAll() {
		status.Sources = slices.DeleteFunc(status.Sources, func(info api.Source) bool { return !who.Sees(info.Source) })
	}
	return status
}

// Newest is the newest scene of a source: nil when there is none yet. known says whether the source is, and names lists
// those that are, when it is not; all for who asks, to whom a source that it does not see is none.
func (s *Server) Newest(source string, who *access.Caller) (scene *api.Scene, known bool, names []string) {
	newest, known, names := s.hub.newest(source, who)
	if newest == nil {
		return nil, known, names
	}
	return &newest.json, known, names
}

// Alive is what the gateway says of itself: the scenes sent since it was asked last, and what it can't show.
func (s *Server) Alive() (sent int64, note string) {
	if met := s.newer.Load(); met > 0 && time.Since(time.Unix(met, 0)) < newerFor {
		note = "needs a newer gateway: scenes come of a version that this one does not show"
	}
	return s.metrics.sent.Swap(0), note
}

// newerFor is how long the gateway speaks of a scene that it does not understand.
const newerFor = time.Minute
