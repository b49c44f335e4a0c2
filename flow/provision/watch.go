package provision

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/flow/service"
)

const (
	roundEvery = 2 * time.Second
	leaseEvery = time.Second // the time between two tries to have the lease
	leaseName  = "provision"
)

// watcher keeps a deployment as its object says.
type watcher struct {
	bus      *bus.Bus
	log      *slog.Logger
	ready    func(bool)
	deployed *bus.Deployed
	repairs  *bus.Repairs
	readers  readers
	links    uint64 // how many times the connection had been made anew when the readers were last begun

	repaired *prometheus.CounterVec
	wire     prometheus.Gauge
	failing  string // the error of the last round
}

// watch provisions, and then stays: of several that do, the one that holds the lease acts.
func (c *Command) watch(ctx context.Context, env service.Env, asked flow.Deployment, out io.Writer) error {
	first, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	if err := c.apply(first, env.Bus, asked, out); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	w := &watcher{bus: env.Bus, log: env.Log, ready: env.Health.SetReady, repairs: env.Bus.NewRepairs()}
	w.repaired = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "spatialflow_provision_repaired_total", Help: "What was missing or set otherwise and was made again, by kind: stream, consumer, deployment.",
	}, []string{"kind"})
	for _, kind := range []string{"stream", "consumer", "deployment"} {
		w.repaired.WithLabelValues(kind)
	}
	w.wire = prometheus.NewGauge(prometheus.GaugeOpts{Name: "spatialflow_deployment_wire", Help: "Version of the messages that are written."})
	env.Metrics.MustRegister(w.repaired, w.wire)
	var err error
	if w.deployed, err = env.Bus.Watch(ctx, env.Log); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	w.readers.begin(time.Now())
	alive, err := env.Bus.Subscribe(flow.AliveSubject("*", "*"), func(msg *nats.Msg) { w.readers.hear(time.Now(), msg.Subject, msg.Data) })
	if err != nil {
		return fmt.Errorf("subscribe to who is alive: %w", err)
	}
	defer func() { _ = alive.Unsubscribe() }() // the connection may be closed
	w.ready(true)
	return w.run(ctx)
}

// run takes turns with others until ctx ends.
func (w *watcher) run(ctx context.Context) error {
	holder := ulid.Make().String()
	for ctx.Err() == nil {
		call, cancel := context.WithTimeout(ctx, leaseEvery)
		lease, err := w.bus.Lease(call, leaseName, holder)
		cancel()
		switch {
		case err == nil:
			w.hold(ctx, lease)
		case !errors.Is(err, bus.ErrLeaseTaken):
			w.round(ctx) // the bucket of the leases may be what is missing; two who make it do no harm
		}
		clock.Sleep(ctx, leaseEvery)
	}
	return nil
}

// hold repairs while the lease is held.
func (w *watcher) hold(ctx context.Context, lease *bus.Lease) {
	tasks, holding := errgroup.WithContext(ctx)
	tasks.Go(func() error { return lease.Keep(holding) })
	tasks.Go(func() error {
		for holding.Err() == nil {
			w.round(holding)
			clock.Sleep(holding, roundEvery)
		}
		return nil
	})
	err := tasks.Wait()
	if ctx.Err() == nil {
		w.log.Warn("another may repair", "error", err)
		return
	}
	release, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseEvery)
	defer cancel()
	_ = lease.Release(release) // it ends by itself
}

// round looks once at everything.
func (w *watcher) round(ctx context.Context) {
	d, _ := w.deployed.Now()
	w.wire.Set(float64(d.Wire))
	changes, err := w.repairs.Round(ctx, d)
	for _, change := range changes {
		w.repaired.WithLabelValues(change.Kind).Inc()
		w.log.Warn("made again", "what", change.Text)
	}
	if ctx.Err() != nil {
		return
	}
	w.ready(err == nil)
	if text := fmt.Sprint(err); err == nil {
		w.failing = ""
	} else if text != w.failing {
		w.failing = text
		w.log.Error("not as the deployment says", "error", err)
	}
	w.raise(ctx, d)
}

// raise raises the version of the messages once all that are alive read a newer one, which this program knows.
func (w *watcher) raise(ctx context.Context, d flow.Deployment) {
	if links := w.bus.Reconnects(); links != w.links || !w.bus.Conn().IsConnected() {
		w.links = links
		w.readers.begin(time.Now())
	}
	wire := min(flow.Wire, w.readers.all(time.Now()))
	if wire <= d.Wire {
		return
	}
	if err := w.bus.RaiseWire(ctx, wire); err != nil {
		w.log.Warn("version of the messages not raised", "wire", wire, "error", err)
		return
	}
	w.log.Info("all that are alive read newer messages, which are written from now on", "wire", wire)
}
