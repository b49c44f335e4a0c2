package workers

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

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

// slot is what one goroutine needs to answer frames: detect's or depth's.
type slot interface {
	// Answer fills in what the group has to say of the picture; lap is called after each step with its name.
	Answer(p *picture.Picture, result *flow.Result, lap func(step string)) error
	Close() error
}

type metrics struct {
	seconds     *prometheus.HistogramVec // by step: wait, decode, preprocess, infer, postprocess, publish
	refused     *prometheus.CounterVec   // by reason
	dropped     *prometheus.CounterVec   // by reason
	redelivered prometheus.Counter
	busy        prometheus.Gauge
}

func newMetrics(registry prometheus.Registerer, cfg Config, session *engine.Session, family string) metrics {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "spatialflow_model_info", Help: "What really runs.",
		ConstLabels: prometheus.Labels{"group": cfg.Group, "family": family, "file": session.Name, "provider": session.Provider},
	})
	info.Set(1)
	dropped := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "spatialflow_dropped_total", Help: "Live frames that were not looked at.", ConstLabels: prometheus.Labels{"group": cfg.Group},
	}, []string{"reason"})
	busy := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "spatialflow_worker_busy_ratio", Help: "Share of the last second that the worker's slots were at work, 0 to 1.", ConstLabels: prometheus.Labels{"group": cfg.Group},
	})
	registry.MustRegister(info, dropped, busy)
	return metrics{
		busy:        busy,
		dropped:     dropped,
		seconds:     telemetry.NewStageSeconds(registry, cfg.Group),
		refused:     telemetry.NewRefused(registry),
		redelivered: telemetry.NewRedeliveries(registry, cfg.Group).WithLabelValues(cfg.Group),
	}
}

// Run answers the frames of cfg.Group until ctx ends, finishes those in hand, and returns nil. An error is returned
// when the model can't be loaded; no frame and no outage of NATS ends it.
func Run(ctx context.Context, cfg Config, env service.Env) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	session, err := engine.Open(engine.File{Path: cfg.Model, Name: cfg.Model, Data: cfg.ModelData},
		engine.Options{Library: cfg.Onnxruntime, Provider: cfg.Provider, Threads: cfg.threads()})
	if err != nil {
		return err
	}
	opened, err := openModel(session.Graph, cfg)
	if err != nil {
		return errors.Join(err, session.Close())
	}
	env.Log.Info("model loaded", "group", cfg.Group, "model", session.Name, "provider", cfg.Provider, "parallel", cfg.Parallel, "threads", cfg.threads())
	family := opened.Description().Family
	m := newMetrics(env.Metrics, cfg, session, family)
	did, waits, unread := newLoad(time.Now()), new(delays), new(bus.Newer)
	var tasks errgroup.Group // a slot that ends does not end the others: ctx does
	for range cfg.Parallel {
		tasks.Go(func() error {
			w := &worker{
				cfg: cfg, env: env, metrics: m, model: session.Name, picture: picture.NewPicture(), slot: modelSlot{session, opened},
				load: did, delays: waits, newer: unread, reached: func() { env.Health.SetReady(true) },
			}
			defer w.close()
			live, lossless := make(chan offer), make(chan offer)
			var modes errgroup.Group
			modes.Go(func() error { return w.take(ctx, flow.ModeLive, live) })
			modes.Go(func() error { return w.take(ctx, flow.ModeLossless, lossless) })
			return errors.Join(w.serve(ctx, live, lossless), modes.Wait())
		})
	}
	tasks.Go(func() error {
		return service.Alive(ctx, env, func() flow.Alive {
			alive := flow.Alive{Stage: cfg.Group, Model: session.Name, Family: family, Provider: session.Provider, Parallel: cfg.Parallel}
			alive.Note = unread.Note("worker")
			alive.Rate, alive.WaitMS, alive.Busy = did.since(time.Now(), cfg.Parallel)
			m.busy.Set(alive.Busy)
			return alive
		})
	})
	defer env.Health.SetReady(false)
	return errors.Join(tasks.Wait(), session.Close())
}

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

func openModel(graph engine.Graph, cfg Config) (answerer, error) {
	if cfg.task() == flow.TaskDepth {
		return depth.Open(graph, depth.Settings{Size: cfg.DepthSize, Bits: cfg.DepthBits})
	}
	return detect.Open(graph, detect.Settings{Confidence: cfg.Confidence, IoU: cfg.IoU, Most: cfg.MaxDet, Size: cfg.DetectSize})
}

// modelSlot answers one frame after the other with a model.
type modelSlot struct {
	session *engine.Session
	model   answerer
}

func (s modelSlot) Answer(p *picture.Picture, result *flow.Result, lap func(step string)) error {
	height, width, err := s.model.Shape(p.Size())
	if err != nil {
		return err
	}
	tensors, err := s.session.Tensors([4]int{1, 3, height, width})
	if err != nil {
		return err
	}
	defer tensors.Release()
	fit, err := s.model.Prepare(p, tensors.Input(), height, width)
	if err != nil {
		return err
	}
	lap("preprocess")
	output, shape, err := s.session.Run(context.Background(), tensors)
	if err != nil {
		return err
	}
	lap("infer")
	err = s.model.Answer(output, shape, fit, result)
	lap("postprocess")
	return err
}

func (modelSlot) Close() error { return nil }
