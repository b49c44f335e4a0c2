// Package pipeline is every stage in one process: an embedded NATS server, the services behind the producer, and the producer.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
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
	"github.com/spatial-flow/spatial-flow/standalone/scratch"
	"github.com/spatial-flow/spatial-flow/standalone/stdio"
	"github.com/spatial-flow/spatial-flow/workers"
	"github.com/spatial-flow/spatial-flow/workers/picture"
)

const (
	scenesWait  = 30 * time.Second   // without a scene, at the end, while the scene file lags behind
	scenesKept  = 7 * 24 * time.Hour // with a run: so that a scene file can be completed later
	startWithin = 30 * time.Second   // for provisioning
)

// Config is what a pipeline runs.
type Config struct {
	Groups   flow.Groups      // those of the deployment, without their slots; the ones that are off are known and idle
	Workers  []workers.Config // of the groups that this process answers
	Producer producer.Config
	Fuser    fuser.Config
	Gateway  *gateway.Config // nil: no page, and no port of one

	DataDir    string               // where NATS stores; empty: a temporary folder, removed at the end
	NATSListen string               // where NATS is reached from outside; empty: nowhere
	NATSUsers  string               // configuration of a nats-server that says by whom; empty: by all who reach a loopback address
	Admin      service.AdminAddress // where the metrics are
	Duration   time.Duration        // after which the sources are stopped; 0: never

	SceneFile string    // written with a line of JSON for each scene, - is out; empty: none
	Sink      SceneSink // instead of a file: is given every scene; nil: none
}

// Default is a pipeline without groups and sources, its services as they are without any flag.
func Default() (Config, error) {
	c := Config{Gateway: new(gateway.Config)}
	return c, errors.Join(service.Defaults(&c.Producer), service.Defaults(&c.Fuser), service.Defaults(c.Gateway))
}

// Run brings the pipeline up, runs the sources through it, and takes it down again: sources first, then, when
// nothing is under way any more, everything else. progress gets the lines that a person watches, out the summary, or, when
// they are its scene file, the scenes: then the summary is progress too.
// [flow.ErrAccount] is returned when a frame was lost or counted twice, [ErrSource] when a source failed, and
// [ErrScenes] when a scene did not reach the scene file.
func (c Config) Run(ctx context.Context, out, progress io.Writer, log *slog.Logger) (err error) {
	dir, remove, err := c.dataDir()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	ctx, drain := context.WithCancel(ctx)
	defer drain()
	summary, lines := out, io.Writer(nil)
	if c.SceneFile != "" && stdio.Is(c.SceneFile, out) {
		lines, summary = out, progress
	}
	p, err := c.start(ctx, drain, dir, lines, log)
	if err != nil {
		return err
	}
	err = p.follow(ctx, progress)
	err = errors.Join(err, p.stop())
	writeSummary(summary, p.board.Summaries())
	return errors.Join(err, verdict(p.board.Statuses()))
}

// dataDir is DataDir, or a temporary folder that remove removes.
func (c Config) dataDir() (dir string, remove func() error, err error) {
	if c.DataDir != "" {
		dir, err := filepath.Abs(c.DataDir)
		return dir, func() error { return nil }, err
	}
	return scratch.Folder()
}

// verdict is what the sources' ends and accounts say about the whole.
func verdict(statuses []flow.SourceStatus) error {
	var errs []error
	for _, s := range statuses {
		if s.State == flow.StateFailed {
			errs = append(errs, fmt.Errorf("%w: %s: %s", ErrSource, s.Source, s.Reason))
		}
		if err := s.Account.CheckAtRest(); err != nil {
			errs = append(errs, fmt.Errorf("source %s: %w", s.Source, err))
		}
	}
	return errors.Join(errs...)
}

// pipeline is one that runs.
type pipeline struct {
	cfg     Config
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

// start brings everything up, the producer last. drain ends asked; lines, unless nil, is written instead of the scene file.
func (c Config) start(asked context.Context, drain context.CancelFunc, dir string, lines io.Writer, log *slog.Logger) (p *pipeline, err error) {
	server, err := natsserver.Start(dir, natsserver.Listen(c.NATSListen), c.NATSUsers, log)
	if err != nil {
		return nil, err
	}
	p = &pipeline{cfg: c, asked: asked, drain: drain, log: log, server: server, board: producer.NewBoard(), produced: make(chan error, 1), ended: make(chan struct{}), listening: make(chan net.Addr, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	p.stopAll = cancel
	p.services, p.running = errgroup.WithContext(ctx)
	producing, stopSources := context.WithCancel(p.running)
	p.stopSrc = stopSources
	for _, step := range []func() error{
		func() error { return p.provision(ctx) },
		func() error { return p.openScenes(lines) },
		p.startServices,
		func() error { return p.startProducer(producing) },
	} {
		if err := step(); err != nil {
			close(p.produced)
			return nil, errors.Join(err, p.stop())
		}
	}
	p.startAdmin()
	if url := server.URL(); url != "" {
		if c.NATSUsers == "" {
			log.Warn("nats is open: who is on this machine may publish, read and delete everything; --nats-users says who may do what", "url", url)
		} else {
			log.Info("nats listens", "url", url)
		}
	}
	return p, nil
}

// startAdmin comes last: it serves the metrics of all services.
func (p *pipeline) startAdmin() {
	process := prometheus.NewRegistry()
	service.ShowBuild(process)
	process.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	p.metrics = append(p.metrics, process)
	if admin := p.cfg.Admin; admin.Admin != "" {
		p.services.Go(func() error {
			answers := telemetry.Admin{
				Address: admin.Admin, TLS: admin.TLS(), Gatherer: p.metrics, Log: p.log, Ready: p.ready, Drain: p.drain, Metrics: process,
			}
			if err := answers.Serve(p.running); err != nil {
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
	if p.groups, err = place(before.Groups, p.cfg.Groups); err != nil {
		return err
	}
	deployment := flow.DefaultDeployment().With(p.groups)
	limits := &deployment.Limits
	limits.LiveStorage = flow.LiveInMemory // server and services end together
	if p.cfg.Producer.Run != "" {
		limits.ScenesKeep = scenesKept
	}
	if err := p.own.Provision(ctx, deployment); err != nil {
		return err
	}
	return p.own.RaiseWire(ctx, flow.Wire) // all services are this program
}

// openScenes makes what takes the scenes, if anything is to.
func (p *pipeline) openScenes(lines io.Writer) error {
	switch {
	case p.cfg.Sink != nil:
		p.scenes = newSceneReader(p.cfg.Sink, map[session]uint64{})
		return nil
	case p.cfg.SceneFile == "":
		return nil
	case lines != nil:
		p.scenes = newSceneReader(&sceneFile{out: lines}, map[session]uint64{})
		return nil
	}
	open := createSceneFile
	if p.cfg.Producer.Run != "" {
		open = continueSceneFile
	}
	file, err := open(p.cfg.SceneFile)
	if err != nil {
		return err
	}
	p.scenes = newSceneReader(file, file.written)
	return nil
}

func (p *pipeline) startServices() error {
	var names []string
	for _, worker := range p.cfg.Workers {
		names = append(names, worker.Group)
	}
	shared := picture.NewShared(names...)
	for _, worker := range p.cfg.Workers {
		worker.Shared = shared
		if err := run(p, worker.Group, worker, workers.Run); err != nil {
			return err
		}
	}
	if err := run(p, "fuser", p.cfg.Fuser, fuser.Run); err != nil {
		return err
	}
	if p.cfg.Gateway != nil {
		gate := *p.cfg.Gateway
		gate.Live.AllFrames = true // they are in this process: a film's last picture is there for whoever looks when it has ended
		gate.Listening = func(address net.Addr) { p.listening <- address }
		if err := run(p, "gateway", gate, gateway.Run); err != nil {
			return err
		}
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
	cfg := p.cfg.Producer
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
	err := errors.Join(<-p.produced, p.completeScenes()) // a source that failed may have had scenes, and others have
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
