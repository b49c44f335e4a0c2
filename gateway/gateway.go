// Package gateway shows scenes: it pairs each scene with its picture by frame ID and pushes both to browsers and
// programs over a websocket, answers the REST API, and serves the viewer page.
//
// A viewer that is too slow never holds anybody up: it has a slot per source for the newest scene and the newest
// depth map, and what is overtaken there is dropped and counted.
package gateway

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/flow/telemetry"
)

const stage = "gateway"

// gateway is one running gateway.
type gateway struct {
	cfg     Config
	env     service.Env
	metrics *metrics
	hub     *hub
	predict *predictor

	deployed atomic.Pointer[bus.Deployed] // nil: not read yet
	fleet    *fleet
	stages   *stageTimes
	overview *overview

	queue    chan *nats.Msg
	lookUps  *lookUps
	watching chan struct{} // viewers watch other sources now
	serving  sync.WaitGroup

	newer      atomic.Int64 // when a scene came that this gateway does not understand, in seconds since 1970; 0: never
	lost       int          // of intake alone
	reconnects uint64
}

// requestGrace is what open requests have to end after a stop: a picture of POST /predict waits for its turn and for its scene.
const requestGrace = turnWithin + sceneWithin + 3*time.Second

// Run serves until ctx ends. Then it takes no more requests, tells its viewers to connect again, answers the requests
// that are open, for requestGrace at most, and returns nil. Without a deployment object it waits for one, with the page
// up already; env.Health is ready once it is subscribed and listening.
func Run(ctx context.Context, cfg Config, env service.Env) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	m := newMetrics(env.Metrics)
	g := &gateway{
		cfg: cfg, env: env, metrics: m, hub: newHub(cfg, m), fleet: newFleet(), stages: newStageTimes(),
		queue:   make(chan *nats.Msg, cfg.Queue),
		lookUps: newLookUps(cfg.MaxSources), watching: make(chan struct{}, 1),
	}
	g.predict, g.overview = newPredictor(g), newOverview(g)
	g.hub.refresh = g.refresh
	g.hub.changed = g.watchingChanged
	subscribed, listening := make(chan struct{}), make(chan struct{})
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx)) // ends after the last answer
	defer stopWork()
	tasks, work := errgroup.WithContext(work)
	serving, stopServing := context.WithCancel(ctx)
	defer stopServing()
	defer context.AfterFunc(work, stopServing)() // a task failed
	tasks.Go(func() error { return stopped(work, g.intake(work, func() { close(subscribed) })) })
	tasks.Go(func() error { return g.ingest(work) })
	tasks.Go(func() error { return g.learn(work) })
	tasks.Go(func() error { return g.tick(work) })
	tasks.Go(func() error { return g.overview.follow(work) })
	tasks.Go(func() error { return service.Alive(serving, env, g.alive) })
	tasks.Go(func() error { return g.ready(serving, subscribed, listening) })
	tasks.Go(func() error {
		defer stopWork()
		defer g.serving.Wait() // viewers are taken over from the server, which does not wait for them
		return telemetry.ServeHTTP(serving, cfg.HTTP, g.handler(serving, work), requestGrace, func(address net.Addr) {
			close(listening)
			env.Log.Debug("viewer page", "url", "http://"+address.String())
			if cfg.Listening != nil {
				cfg.Listening(address)
			}
		})
	})
	return tasks.Wait()
}

// stopped is err, or nil when it only says that ctx ended.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (g *gateway) watchingChanged() {
	select {
	case g.watching <- struct{}{}:
	default: // told already
	}
}

// ready says that the gateway is, once both have happened and until ctx ends.
func (g *gateway) ready(ctx context.Context, conditions ...<-chan struct{}) error {
	for _, condition := range conditions {
		select {
		case <-condition:
		case <-ctx.Done():
			return nil
		}
	}
	g.env.Health.SetReady(true)
	defer g.env.Health.SetReady(false)
	<-ctx.Done()
	return nil
}

// deployment is what everybody agrees on, as it is now; ok is false while it is not known.
func (g *gateway) deployment() (d flow.Deployment, ok bool) {
	deployed := g.deployed.Load()
	if deployed == nil {
		return d, false
	}
	d, _ = deployed.Now()
	return d, true
}

// tick ends a second of the sources' rates and the stages' times, once a second.
func (g *gateway) tick(ctx context.Context) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		g.hub.tick()
		g.stages.tick()
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (g *gateway) alive() flow.Alive {
	alive := flow.Alive{Stage: stage, Rate: float64(g.metrics.sent.Swap(0))}
	if met := g.newer.Load(); met > 0 && time.Since(time.Unix(met, 0)) < newerFor {
		alive.Note = "needs a newer gateway: scenes come of a version that this one does not show"
	}
	return alive
}

// newerFor is how long the gateway speaks of a scene that it does not understand.
const newerFor = time.Minute
