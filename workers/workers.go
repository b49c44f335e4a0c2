package workers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/flow/telemetry"
	"github.com/spatial-flow/spatial-flow/workers/depth"
	"github.com/spatial-flow/spatial-flow/workers/detect"
	"github.com/spatial-flow/spatial-flow/workers/engine"
	"github.com/spatial-flow/spatial-flow/workers/model"
	"github.com/spatial-flow/spatial-flow/workers/picture"
)

// answerer is what makes inputs of pictures and answers of outputs: detect's model or depth's. It serves many goroutines.
type answerer interface {
	// Shape is the input's height and width for a picture; an error is the picture's.
	Shape(width, height int) (inputHeight, inputWidth int, err error)
	// Prepare writes the picture into an input row.
	Prepare(p *picture.Picture, row []float32, inputHeight, inputWidth int) (picture.Fit, error)
	// Answer fills in what an output says of the picture.
	Answer(output []float32, shape []int64, fit picture.Fit, result *flow.Result) error
	// FirstShapes are heights and widths of inputs to be run before the first frame.
	FirstShapes() [][2]int
	Description() model.Description
}

type metrics struct {
	seconds     *prometheus.HistogramVec // by step: wait, decode, preprocess, infer, postprocess, publish
	refused     *prometheus.CounterVec   // by reason
	dropped     *prometheus.CounterVec   // by reason
	lost        *prometheus.CounterVec   // by cause
	redelivered prometheus.Counter
	busy        prometheus.Gauge
}

func newMetrics(registry prometheus.Registerer, group string, d model.Description, provider string) metrics {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "spatialflow_model_info", Help: "What really runs.",
		ConstLabels: prometheus.Labels{"group": group, "family": d.Family, "file": d.File, "provider": provider},
	})
	info.Set(1)
	dropped := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "spatialflow_dropped_total", Help: "Live frames that were not looked at.", ConstLabels: prometheus.Labels{"group": group},
	}, []string{"reason"})
	lost := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "spatialflow_lost_total", Help: "Frames that were given up after their last try, by what ended it: model, killed or deadline.", ConstLabels: prometheus.Labels{"group": group},
	}, []string{"cause"})
	busy := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "spatialflow_worker_busy_ratio", Help: "Share of the last second that the worker's model was at work, 0 to 1.", ConstLabels: prometheus.Labels{"group": group},
	})
	registry.MustRegister(info, dropped, lost, busy)
	return metrics{
		busy: busy, dropped: dropped, lost: lost,
		seconds:     telemetry.NewStageSeconds(registry, group),
		refused:     telemetry.NewRefused(registry),
		redelivered: telemetry.NewRedeliveries(registry, group).WithLabelValues(group),
	}
}

// placement is where a model's graph runs.
type placement struct {
	provider string // that runs most of it
	nodes    string // how many where
}

// worker answers frames with a model, in stages: frames are taken, prepared, run and answered.
type worker struct {
	cfg      Config
	env      service.Env
	model    answerer
	is       model.Description
	device   device
	where    placement
	metrics  metrics
	instance string // in alive messages
	host     string

	taken    *lanes     // frames that wait to be prepared
	ready    *lanes     // and for the model
	inferred chan *task // and to be answered
	memory   memory     // of inputs
	shapes   *shapes
	hand     *hand
	health   *health
	pace     pace
	load     *load
	delays   delays // of live frames
	failures failures
	peers    peers
	newer    bus.Newer // gives frames back

	running   context.Context // until the worker stops
	stop      context.CancelFunc
	storing   sync.WaitGroup
	warmings  sync.WaitGroup
	stuck     chan struct{} // closed when a run does not end
	stuckOnce sync.Once
}

// Run answers the frames of cfg.Group until ctx ends, finishes those in hand, and returns nil. An error is returned
// when the model can't be loaded, and [ErrBroken] when it does not work; no frame and no outage of NATS ends it.
func Run(ctx context.Context, cfg Config, env service.Env) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	opened, err := engine.Open(engine.File{Path: cfg.Model, Name: cfg.Model, Data: cfg.ModelData}, cfg.options(env.Log))
	if err != nil {
		return err
	}
	device := rigged(model.On(opened))
	model, err := openModel(opened.Graph, cfg)
	if err != nil {
		return errors.Join(err, opened.Close())
	}
	env.Log.Info("model loaded", "group", cfg.Group, "model", opened.Name, "understood", model.Description().String(),
		"runs", opened.Placement(), "parallel", cfg.Parallel, "threads", opened.Threads)
	w := newWorker(cfg, env, model, device, placement{opened.Provider, opened.Placement()})
	err = w.run(ctx)
	if w.isStuck() {
		return err // what is in use can't be freed
	}
	return errors.Join(err, opened.Close())
}

func openModel(graph engine.Graph, cfg Config) (answerer, error) {
	if cfg.task() == flow.TaskDepth {
		return depth.Open(graph, depth.Settings{Size: cfg.DepthSize, Bits: cfg.DepthBits})
	}
	return detect.Open(graph, detect.Settings{Confidence: cfg.Confidence, IoU: cfg.IoU, Most: cfg.MaxDet, Size: cfg.DetectSize})
}

func newWorker(cfg Config, env service.Env, model answerer, device device, where placement) *worker {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	w := &worker{
		cfg: cfg, env: env, model: model, is: model.Description(), device: device, where: where,
		metrics:  newMetrics(env.Metrics, cfg.Group, model.Description(), where.provider),
		instance: ulid.Make().String(), host: host,
		taken: newLanes(cfg.most()), ready: newLanes(cfg.most()), inferred: make(chan *task, cfg.Parallel),
		memory: newMemory(readyBytes), shapes: newShapes(), hand: newHand(cfg.Parallel, cfg.prefetch()), health: newHealth(), load: newLoad(time.Now()),
		stuck: make(chan struct{}),
	}
	w.failures.at, w.peers.heard, w.peers.own = map[flow.FrameID]time.Time{}, map[string]time.Time{}, w.instance
	return w
}

// run is [Run] with a model that is loaded.
func (w *worker) run(ctx context.Context) error {
	w.running, w.stop = context.WithCancel(ctx)
	defer w.stop()
	warmed := make(chan error, 1)
	go func() { warmed <- w.warmUp(w.running) }()
	select {
	case err := <-warmed:
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil
		default:
			return brokenError{err}
		}
	case <-w.stuck:
		return w.health.broken()
	}
	heard, err := w.peers.listen(w)
	if err != nil {
		return fmt.Errorf("listen to the other workers of %s: %w", w.cfg.Group, err)
	}
	defer heard.Unsubscribe()
	defer w.env.Health.SetReady(false)
	var telling sync.WaitGroup
	telling.Go(func() { _ = service.Alive(w.running, w.env, w.status) }) // it has no error
	holding, release := context.WithCancel(context.Background())
	telling.Go(func() { w.hand.hold(holding) })
	defer func() { w.stop(); release(); telling.Wait() }()
	w.work()
	if w.isStuck() {
		w.abandon()
	}
	return w.health.broken()
}

// work runs the stages until the worker stops and what is in hand is finished, or a run does not end.
func (w *worker) work() {
	var taking, preparing, inferring, answering sync.WaitGroup
	for _, mode := range []flow.Mode{flow.ModeLive, flow.ModeLossless} {
		for k := range w.cfg.most() {
			taking.Go(func() { _ = w.follow(w.running, mode, k) }) // its error is that of ctx
		}
	}
	for range runtime.GOMAXPROCS(0) {
		preparing.Go(w.prepareAll)
		answering.Go(w.answerAll)
	}
	for slot := range w.cfg.Parallel {
		inferring.Go(func() { w.inferAll(w.running, slot) })
	}
	finished := make(chan struct{})
	go func() { // stages end one after the other, each when no more can come
		defer close(finished)
		taking.Wait()
		w.taken.close()
		preparing.Wait()
		w.warmings.Wait()
		w.ready.close()
		inferring.Wait()
		close(w.inferred)
		answering.Wait()
		w.storing.Wait()
	}()
	select {
	case <-finished:
	case <-w.stuck:
	}
}

// reached is called when a consumer of the group was found: frames can be taken.
func (w *worker) reached() {
	if w.health.broken() == nil {
		w.env.Health.SetReady(true)
	}
}

// status is what alive messages say.
func (w *worker) status() flow.Alive {
	alive := flow.Alive{
		Stage: w.cfg.Group, Instance: w.instance, Host: w.host, Wire: flow.Wire, Model: w.is.File, Family: w.is.Family, Provider: w.where.provider,
		Understood: w.is.String() + "; " + w.where.nodes, Parallel: w.hand.live(), Note: w.note(),
	}
	alive.Rate, alive.WaitMS, alive.Busy = w.load.since(time.Now(), w.cfg.Parallel)
	w.metrics.busy.Set(alive.Busy)
	return alive
}

func (w *worker) isStuck() bool {
	select {
	case <-w.stuck:
		return true
	default:
		return false
	}
}

// abandon gives back what is in hand while a run does not end.
func (w *worker) abandon() {
	w.stop()
	for _, t := range w.hand.all() {
		if t.end() {
			w.giveBack(t, w.backAfter())
		}
	}
	stored := make(chan struct{})
	go func() {
		w.storing.Wait()
		close(stored)
	}()
	select {
	case <-stored:
	case <-time.After(stoppedAfter):
	}
}
