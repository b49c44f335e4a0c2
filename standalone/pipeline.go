package standalone

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/natsserver"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/flow/telemetry"
	"github.com/spatial-flow/spatial-flow/fuser"
	"github.com/spatial-flow/spatial-flow/gateway"
	"github.com/spatial-flow/spatial-flow/producer"
	"github.com/spatial-flow/spatial-flow/workers"
	"github.com/spatial-flow/spatial-flow/workers/models"
	"github.com/spatial-flow/spatial-flow/workers/picture"
)

const (
	drainWithin = 30 * time.Second   // what a stop waits for the frames that are under way
	scenesWait  = 10 * time.Second   // without a scene, at the end, while the scene file lags behind
	scenesKept  = 7 * 24 * time.Hour // with --run: so that a scene file can be completed later
	startWithin = 30 * time.Second   // for provisioning
)

// pipeline is everything that runs: NATS, the services behind the producer, and the producer.
type pipeline struct {
	up      *Up
	asked   context.Context // ends when the pipeline is asked to stop
	drain   context.CancelFunc
	log     *slog.Logger
	server  *natsserver.Server
	own     *bus.Bus // for provisioning and the scene file
	groups  flow.Groups
	board   *producer.Board
	scenes  *sceneReader         // nil: nobody wants them
	metrics prometheus.Gatherers // a registry per service: labels of the same metric may differ

	health []*telemetry.Health

	services  *errgroup.Group // all but the producer
	running   context.Context // ends when a service fails
	stopAll   context.CancelFunc
	produced  chan error    // what the producer's end says
	ended     chan struct{} // closed when the producer has ended
	listening chan net.Addr // the viewer page's address, once
	stopSrc   context.CancelFunc
}

// start brings everything up, the producer last. drain ends asked.
func (u *Up) start(asked context.Context, drain context.CancelFunc, dir string, board *producer.Board, log *slog.Logger) (p *pipeline, err error) {
	server, err := natsserver.StartListening(dir, natsserver.Listen(u.NATSListen), log)
	if err != nil {
		return nil, err
	}
	p = &pipeline{up: u, asked: asked, drain: drain, log: log, server: server, board: board, produced: make(chan error, 1), ended: make(chan struct{}), listening: make(chan net.Addr, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	p.stopAll = cancel
	p.services, p.running = errgroup.WithContext(ctx)
	producing, stopSources := context.WithCancel(p.running)
	p.stopSrc = stopSources
	if err := p.provision(ctx); err != nil {
		close(p.produced)
		return nil, errors.Join(err, p.stop())
	}
	if err := p.startServices(); err != nil {
		close(p.produced)
		return nil, errors.Join(err, p.stop())
	}
	if err := p.startProducer(producing); err != nil {
		close(p.produced)
		return nil, errors.Join(err, p.stop())
	}
	p.startAdmin()
	if url := server.URL(); url != "" {
		log.Info("nats listens", "url", url)
	}
	return p, nil
}

// startAdmin comes last: it serves the metrics of all services.
func (p *pipeline) startAdmin() {
	process := prometheus.NewRegistry()
	service.ShowBuild(process)
	process.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	p.metrics = append(p.metrics, process)
	if p.up.Admin != "" {
		p.services.Go(func() error {
			if err := (telemetry.Admin{Address: p.up.Admin, Gatherer: p.metrics, Ready: p.ready, Drain: p.drain}).Serve(p.running); err != nil {
				return fmt.Errorf("--admin: %w", err)
			}
			return nil
		})
	}
}

func (p *pipeline) provision(ctx context.Context) (err error) {
	if p.own, err = p.server.Connect("standalone", p.log); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	before, _, err := p.own.Deployment(ctx)
	if err != nil && !errors.Is(err, bus.ErrNotProvisioned) {
		return err
	}
	if p.groups, err = p.up.groups(before.Groups); err != nil {
		return err
	}
	deployment := flow.DefaultDeployment().With(p.groups)
	limits := &deployment.Limits
	limits.LiveStorage = flow.LiveInMemory // server and services end together
	if p.up.Run != "" {
		limits.ScenesKeep = scenesKept
	}
	if err := p.own.Provision(ctx, deployment); err != nil {
		return err
	}
	if err := p.own.RaiseWire(ctx, flow.Wire); err != nil { // all services are this program
		return err
	}
	switch {
	case p.up.sink != nil:
		p.scenes = newSceneReader(p.up.sink, map[session]uint64{})
	case p.up.Scenes != "":
		return p.openSceneFile()
	}
	return nil
}

func (p *pipeline) openSceneFile() error {
	if p.up.scenes != nil {
		p.scenes = newSceneReader(&SceneFile{out: p.up.scenes}, map[session]uint64{})
		return nil
	}
	open := CreateSceneFile
	if p.up.Run != "" {
		open = ContinueSceneFile
	}
	file, err := open(p.up.Scenes)
	if err != nil {
		return err
	}
	p.scenes = newSceneReader(file, file.written)
	return nil
}

func (p *pipeline) startServices() error {
	var names []string
	for _, group := range here(p.groups) {
		names = append(names, group.Name)
	}
	shared := picture.NewShared(names...)
	for _, group := range here(p.groups) {
		cfg, err := p.up.worker(group)
		if err != nil {
			return err
		}
		cfg.Shared = shared
		if err := run(p, group.Name, cfg, workers.Run); err != nil {
			return err
		}
	}
	var fuse fuser.Config
	var gate gateway.Config
	if err := errors.Join(service.Defaults(&fuse), service.Defaults(&gate)); err != nil {
		return err
	}
	gate.Origins = p.up.Origins
	gate.HTTP, gate.Listening = p.up.HTTP, func(address net.Addr) { p.listening <- address }
	if err := errors.Join(run(p, "fuser", fuse, fuser.Run), run(p, "gateway", gate, gateway.Run)); err != nil {
		return err
	}
	if p.scenes != nil {
		p.services.Go(p.readScenes)
	}
	return nil
}

// run starts one service with a connection and metrics of its own.
func run[C any](p *pipeline, name string, cfg C, service service.Run[C]) error {
	env, err := p.env(name)
	if err != nil {
		return err
	}
	p.services.Go(func() error {
		defer env.Bus.Close()
		if err := service(p.running, cfg, env); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
	return nil
}

func (p *pipeline) env(name string) (service.Env, error) {
	b, err := p.server.Connect(name, p.log.With("service", name))
	if err != nil {
		return service.Env{}, err
	}
	health, registry := new(telemetry.Health), prometheus.NewRegistry()
	p.health, p.metrics = append(p.health, health), append(p.metrics, registry)
	return service.Env{
		Bus: b, Log: p.log.With("service", name), Health: health,
		Metrics: prometheus.WrapRegistererWith(prometheus.Labels{"service": name}, registry),
	}, nil
}

func (p *pipeline) startProducer(ctx context.Context) error {
	cfg, err := p.up.producer()
	if err != nil {
		return err
	}
	cfg.Status = p.board
	env, err := p.env("producer")
	if err != nil {
		return err
	}
	go func() {
		defer env.Bus.Close()
		defer close(p.ended)
		defer context.AfterFunc(p.running, env.Bus.Close)() // a service failed: nobody finishes what is under way
		p.produced <- producer.Run(ctx, cfg, env)
	}()
	return nil
}

// producer is the settings of the producer, but for its board.
func (u *Up) producer() (producer.Config, error) {
	var cfg producer.Config
	if err := service.Defaults(&cfg); err != nil {
		return cfg, err
	}
	cfg.Sources, cfg.SourceFile, cfg.Run, cfg.Window, cfg.Quality = u.Source, u.SourceFile, u.Run, u.Window, u.Quality
	cfg.Strict, cfg.DecodeArgs = u.Strict, u.DecodeArgs
	cfg.Mode, cfg.FPS, cfg.Loop, cfg.MaxSide = u.Mode, u.FPS, u.Loop, u.MaxSide
	cfg.Required, cfg.MaxRate = u.Required, u.MaxRate
	cfg.Ingest = !u.ExitWhenDone
	cfg.Frames, cfg.Unpaced, cfg.Drain = u.Frames, u.unpaced, drainWithin
	if u.drain > 0 {
		cfg.Drain = u.drain
	}
	return cfg, nil
}

// worker is the settings of one group's worker.
func (u *Up) worker(group flow.Group) (workers.Config, error) {
	var cfg workers.Config
	if err := service.Defaults(&cfg); err != nil {
		return cfg, err
	}
	cfg.Group, cfg.Task, cfg.Model = group.Name, group.Does(), u.DetectModel
	if cfg.Task == flow.TaskDepth {
		cfg.Model = u.DepthModel
	}
	if cfg.Model == "" {
		cfg.Model, cfg.ModelData = models.Demo(string(cfg.Task))
	}
	cfg.Provider, cfg.Parallel, cfg.Threads, cfg.Onnxruntime = u.Provider, u.Parallel, u.Threads, u.Onnxruntime
	cfg.Confidence, cfg.DepthSize = u.Confidence, u.DepthSize
	return cfg, cfg.Validate()
}

// readScenes gives the sink its scenes. Before the sessions are known no scene is told to be ours, and old ones come once.
func (p *pipeline) readScenes() error {
	select {
	case <-p.running.Done():
		return nil
	case <-p.board.Named():
		return p.scenes.run(p.running, p.own, p.log, p.ours)
	}
}

// ours says whether a scene belongs to a session that this process runs.
func (p *pipeline) ours(source, session string) bool {
	for _, s := range p.board.Statuses() {
		if s.Source == source && s.Session == session {
			return true
		}
	}
	return false
}

func (p *pipeline) ready() bool {
	if p.asked.Err() != nil {
		return false
	}
	for _, h := range p.health {
		if !h.Ready() {
			return false
		}
	}
	return true
}

// stop takes everything down: the sources and what is under way of them first, then the scene file once it has
// caught up, then the rest.
func (p *pipeline) stop() error {
	p.stopSrc()
	err := <-p.produced
	if err == nil {
		err = p.completeScenes()
	}
	p.stopAll()
	if failed := p.services.Wait(); failed != nil {
		err = failed // it ended the producer too: what that says follows from it
	}
	if p.scenes != nil {
		err = errors.Join(err, p.scenes.close())
	}
	if p.own != nil {
		p.own.Close()
	}
	p.server.Stop()
	return err
}

// completeScenes waits until every stored scene is in the scene file.
func (p *pipeline) completeScenes() error {
	if p.scenes == nil || p.running.Err() != nil {
		return nil
	}
	var errs []error
	for _, s := range p.board.Statuses() {
		position, _, err := p.own.Position(p.running, s.Source, s.Session)
		switch {
		case err == nil:
			err = p.scenes.wait(p.running, s.Source, s.Session, position.Seq, scenesWait)
		case errors.Is(err, bus.ErrNotFound): // it never had a frame
			err = nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
