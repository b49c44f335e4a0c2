package workers_test

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/jpeg"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/natsserver"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/flow/telemetry"
	"github.com/spatial-flow/spatial-flow/workers"
	"github.com/spatial-flow/spatial-flow/workers/models"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patience = 3 * time.Minute
	lossless = flow.ModeLossless
)

var (
	quiet  = slog.New(slog.DiscardHandler)
	groups = flow.DefaultGroups()
)

// bench is a provisioned server with a connection of the test's own.
type bench struct {
	server *natsserver.Server
	bus    *bus.Bus
}

func newBench(t testing.TB) bench {
	t.Helper()
	server, err := natsserver.Start(t.TempDir(), "", "", quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	b, err := server.Connect("test", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if err := b.Provision(context.Background(), flow.DefaultDeployment().With(groups)); err != nil {
		t.Fatal(err)
	}
	return bench{server, b}
}

// settings of a worker with the group's model of no cost.
func settings(t testing.TB, group string) workers.Config {
	t.Helper()
	var cfg workers.Config
	if err := service.Defaults(&cfg); err != nil {
		t.Fatal(err)
	}
	cfg.Group, cfg.Model, cfg.ModelData, cfg.DepthSize = group, "nocost_"+group+".onnx", models.NoCostDetect, 28
	if group == flow.GroupDepth {
		cfg.ModelData = models.NoCostDepth
	}
	return cfg
}

// life is one life of a worker.
type life struct {
	bus     *bus.Bus
	metrics *prometheus.Registry
	health  *telemetry.Health
	cancel  context.CancelFunc
	ended   chan error
}

// start runs a worker; whoever starts it ends it.
func (b bench) start(t testing.TB, cfg workers.Config) *life {
	t.Helper()
	connection, err := b.server.Connect(cfg.Group, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &life{bus: connection, metrics: prometheus.NewRegistry(), health: new(telemetry.Health), cancel: cancel, ended: make(chan error, 1)}
	env := service.Env{Bus: connection, Log: quiet, Metrics: l.metrics, Health: l.health}
	go func() { l.ended <- workers.Run(ctx, cfg, env) }()
	return l
}

// wait waits for the worker's end, which is a clean one.
func (l *life) wait(t testing.TB) {
	t.Helper()
	select {
	case err := <-l.ended:
		if err != nil {
			t.Errorf("worker ended with %v", err)
		}
	case <-time.After(patience):
		t.Fatal("worker did not stop")
	}
	if l.health.Ready() {
		t.Error("a worker that has stopped is ready")
	}
	l.bus.Close()
}

func (l *life) stop(t testing.TB) {
	t.Helper()
	l.cancel()
	l.wait(t)
}

// kill takes the connection away first: nothing more is acked, given back or written, as after kill -9.
func (l *life) kill() {
	l.bus.Conn().Close()
	l.cancel()
}

// jpegOf is a grey JPEG.
func jpegOf(t testing.TB, width, height int) []byte {
	t.Helper()
	m := image.NewGray(image.Rect(0, 0, width, height))
	for i := range m.Pix {
		m.Pix[i] = color.Gray{128}.Y
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, m, nil); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func frame(t testing.TB, seq uint64, plan ...string) *flow.Frame {
	t.Helper()
	return &flow.Frame{
		Version: flow.Wire, Source: "cam1", Session: "s", Seq: seq, Mode: lossless, Captured: 1700000000e9, Sent: time.Now().UnixNano(),
		Partition: flow.Partition("cam1", flow.DefaultPartitions),
		Width:     64, Height: 48, Plan: plan, Picture: jpegOf(t, 64, 48), Ledger: []flow.Hop{{Stage: "producer", Work: time.Millisecond}},
	}
}

func (b bench) publish(t testing.TB, frames ...*flow.Frame) {
	t.Helper()
	for _, f := range frames {
		if err := b.bus.PublishFrame(context.Background(), groups, f); err != nil {
			t.Fatal(err)
		}
	}
}

// results reads n results of a group, by seq, and fails when a frame has two.
func (b bench) results(t testing.TB, group string, n int) map[uint64]*flow.Result {
	t.Helper()
	messages, err := b.bus.TakeResults(context.Background(), group, lossless, flow.Partition("cam1", flow.DefaultPartitions), n)
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Stop()
	results := map[uint64]*flow.Result{}
	for len(results) < n {
		msg, err := messages.Next(jetstream.NextMaxWait(patience))
		if err != nil {
			t.Fatalf("after %d of %d results of %s: %v", len(results), n, group, err)
		}
		result := new(flow.Result)
		if err := flow.Decode(msg.Data(), result); err != nil {
			t.Fatal(err)
		}
		if err := result.Validate(); err != nil {
			t.Fatal(err)
		}
		if results[result.Seq] != nil {
			t.Fatalf("frame %d has two results of %s", result.Seq, group)
		}
		results[result.Seq] = result
		if err := msg.DoubleAck(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	return results
}

// info is what the server knows of a group's consumer.
func (b bench) info(t testing.TB, group string) *jetstream.ConsumerInfo {
	t.Helper()
	consumer, err := b.bus.JetStream().Consumer(context.Background(), "FRAMES_LOSSLESS", group)
	if err != nil {
		t.Fatal(err)
	}
	return consumer.CachedInfo()
}

func (b bench) stored(t testing.TB, stream string) uint64 {
	t.Helper()
	s, err := b.bus.JetStream().Stream(context.Background(), stream)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State.Msgs
}

// drained waits until every frame is acked, and then nothing may be left of results either.
func (b bench) drained(t testing.TB) {
	t.Helper()
	eventually(t, "every frame is acked", func() bool { return b.stored(t, "FRAMES_LOSSLESS") == 0 })
	for _, stream := range []string{"RESULTS_DETECT_LOSSLESS", "RESULTS_DEPTH_LOSSLESS"} {
		if left := b.stored(t, stream); left != 0 {
			t.Errorf("%s holds %d more results", stream, left)
		}
	}
}

// eventually asks until the server has done what it does behind an ack.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %v still not so: %s", patience, what)
		}
	}
}
