// Package gateway shows scenes: it pushes each with its picture to browsers and programs over a websocket, answers the
// REST API, and serves the viewer page. Its rooms are the packages below: access, live, predict, overview, manage, rest and web.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/flow/telemetry"
	"github.com/spatial-flow/spatial-flow/gateway/access"
	"github.com/spatial-flow/spatial-flow/gateway/callers"
	"github.com/spatial-flow/spatial-flow/gateway/live"
	"github.com/spatial-flow/spatial-flow/gateway/manage"
	"github.com/spatial-flow/spatial-flow/gateway/overview"
	"github.com/spatial-flow/spatial-flow/gateway/predict"
	"github.com/spatial-flow/spatial-flow/gateway/rest"
)

// ErrConfig is returned when a setting makes no sense.
var ErrConfig = errors.New("bad gateway setting")

const stage = "gateway"

// gateway is one running gateway.
type gateway struct {
	cfg      Config
	env      service.Env
	deployed atomic.Pointer[bus.Deployed] // nil: not read yet
	live     *live.Server
	predict  *predict.Predictor
	overview *overview.Observer
	manage   *manage.Manager
}

// Run serves until ctx ends. Then it takes no more requests, tells its viewers to connect again, answers the requests
// that are open, for [predict.Grace] at most, and returns nil. Without a deployment object it waits for one, with the page
// up already; env.Health is ready once it is subscribed and listening.
func Run(ctx context.Context, cfg Config, env service.Env) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	who, err := callers.New(cfg.Callers, env.Log)
	if err != nil {
		return err
	}
	cfg.Live.ViewerBytes = cfg.Callers.Bytes
	refused := telemetry.NewRefused(env.Metrics)
	gate, err := access.New(cfg.Access, env.Log, env.Metrics, refused, who.Address)
	if err != nil {
		return fmt.Errorf("%w: --tokens: %w", ErrConfig, err)
	}
	g := &gateway{cfg: cfg, env: env}
	g.predict = predict.New(cfg.Predict, env.Bus, g.deployment)
	g.live = live.New(cfg.Live, env, refused, gate, g.deployment, live.Listeners{Scene: g.addScene, Alive: g.addAlive, Predictions: g.predict.Source()})
	g.overview = overview.New(env.Bus, g.live, g.deployment)
	g.manage = manage.New(cfg.Manage, env.Bus, env.Log)
	api := rest.New(rest.Config{Hosts: cfg.Hosts, Origins: cfg.Origins, BasePath: cfg.BasePath, WriteTimeout: cfg.Live.WriteTimeout, Log: env.Log}, env.Metrics, refused, who, gate, g.live, g.predict, g.overview, g.manage)
	subscribed, listening := make(chan struct{}), make(chan struct{})
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx)) // ends after the last answer
	defer stopWork()
	tasks, work := errgroup.WithContext(work)
	serving, stopServing := context.WithCancel(ctx)
	defer stopServing()
	defer context.AfterFunc(work, stopServing)() // a task failed
	tasks.Go(func() error { return stopped(work, g.subscribe(work, func() { close(subscribed) })) })
	tasks.Go(func() error { return g.live.Run(work) })
	tasks.Go(func() error { return g.overview.Run(work) })
	tasks.Go(func() error { g.manage.Run(work); return nil })
	tasks.Go(func() error { gate.Run(work); return nil })
	tasks.Go(func() error { return service.Alive(serving, env, g.alive) })
	tasks.Go(func() error { return g.ready(serving, subscribed, listening) })
	tasks.Go(func() error {
		defer api.Wait() // whatever is open after the grace ends with the work
		defer stopWork()
		defer g.live.Wait() // viewers are taken over from the server, which does not wait for them
		server := telemetry.Server{
			Address: cfg.HTTP, TLS: cfg.TLS(), Handler: api.Handler(serving, work), Log: env.Log, Metrics: env.Metrics, Door: rest.Door, Grace: predict.Grace,
			Listening: func(address net.Addr) {
				close(listening)
				env.Log.Debug("viewer page", "url", cfg.URL(address.String()))
				if cfg.Listening != nil {
					cfg.Listening(address)
				}
			},
		}
		return server.Serve(serving)
	})
	return tasks.Wait()
}

// subscribe owns the subscriptions until ctx ends. subscribed is called once they stand.
func (g *gateway) subscribe(ctx context.Context, subscribed func()) error {
	deployed, err := g.env.Bus.Watch(ctx, g.env.Log)
	if err != nil {
		return err
	}
	g.deployed.Store(deployed)
	done, err := g.predict.Subscribe()
	if err != nil {
		return err
	}
	defer func() { _ = done.Unsubscribe() }() // fails when the connection is closed: then it is gone anyway
	return g.live.Subscribe(ctx, deployed, subscribed)
}

// addScene tells the rooms of a scene beside viewers.
func (g *gateway) addScene(scene *flow.Scene) {
	if strings.HasPrefix(scene.Source, flow.PredictPrefix) {
		g.predict.AddScene(scene)
		return
	}
	g.overview.AddScene(scene)
}

func (g *gateway) addAlive(alive flow.Alive) (room bool) {
	g.predict.AddAlive(alive)
	g.manage.AddAlive(alive)
	return g.overview.AddAlive(alive)
}

// stopped is err, or nil when it only says that ctx ended.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
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

func (g *gateway) alive() flow.Alive {
	sent, note := g.live.Alive()
	return flow.Alive{Stage: stage, Rate: float64(sent), Note: note}
}
