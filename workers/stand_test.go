package workers

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/jpeg"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/natsserver"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/flow/telemetry"
	"github.com/spatial-flow/spatial-flow/workers/engine"
	"github.com/spatial-flow/spatial-flow/workers/model"
	"github.com/spatial-flow/spatial-flow/workers/picture"
)

const patience = 3 * time.Minute

var quiet = slog.New(slog.DiscardHandler)

// standIn is a model without ONNX Runtime. Its input is as large as the picture, and tells the picture's width.
type standIn struct {
	first [2]int // shape: height, width
	// run, unless nil, is what a run does; width is that of the picture, 64 for the worker's own.
	run func(ctx context.Context, width int) error
	// says, unless nil, fills in the answer.
	says func(result *flow.Result, width int) error
}

func (s *standIn) Shape(width, height int) (int, int, error) {
	if width > 6*height {
		return 0, 0, model.ErrShape
	}
	return height, width, nil
}

func (s *standIn) Prepare(p *picture.Picture, row []float32, _, _ int) (picture.Fit, error) {
	width, _ := p.Size()
	row[0] = float32(width)
	return picture.Fit{}, nil
}

func (s *standIn) Answer(output []float32, _ []int64, _ picture.Fit, result *flow.Result) error {
	if s.says != nil {
		return s.says(result, int(output[0]))
	}
	return nil
}

func (s *standIn) FirstShapes() [][2]int { return [][2]int{s.first} }

func (s *standIn) Description() model.Description {
	return model.Description{File: "stand-in.onnx", Task: flow.TaskDetect, Family: "stand-in"}
}

// standTensors are in Go's memory.
type standTensors []float32

func (t standTensors) Input() []float32 { return t }
func (t standTensors) Release()         {}

func (s *standIn) Tensors(shape [4]int) (tensors, error) {
	return make(standTensors, shape[1]*shape[2]*shape[3]), nil
}

func (s *standIn) Run(ctx context.Context, in tensors) ([]float32, []int64, error) {
	if s.run != nil {
		if err := s.run(ctx, int(in.Input()[0])); err != nil {
			return nil, nil, err
		}
	}
	return in.Input(), nil, nil
}

// fixed is a stand-in whose input has one size, so that pictures of all widths have its shape.
type fixed struct{ *standIn }

func (f *fixed) Shape(int, int) (int, int, error) { return f.first[0], f.first[1], nil }

// slowShape is a stand-in that does something else at one shape.
type slowShape struct {
	*standIn
	shape [2]int
	begun func()
	err   error
}

type shapedTensors struct {
	standTensors
	shape [2]int
}

func (s *slowShape) Tensors(shape [4]int) (tensors, error) {
	return shapedTensors{make(standTensors, shape[1]*shape[2]*shape[3]), [2]int{shape[2], shape[3]}}, nil
}

func (s *slowShape) Run(ctx context.Context, in tensors) ([]float32, []int64, error) {
	if in.(shapedTensors).shape == s.shape {
		if s.begun != nil {
			s.begun()
		}
		if s.err != nil {
			return nil, nil, s.err
		}
	}
	return s.standIn.Run(ctx, in)
}

// stand is a stand-in for model and device.
type stand interface {
	answerer
	device
	base() *standIn
}

func (s *standIn) base() *standIn { return s }

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
	if err := b.Provision(context.Background(), flow.DefaultDeployment()); err != nil {
		t.Fatal(err)
	}
	return bench{server, b}
}

// ackWait sets how long a frame stays with a worker that says nothing.
func (b bench) ackWait(t *testing.T, wait time.Duration) {
	t.Helper()
	consumer, err := b.bus.JetStream().Consumer(t.Context(), "FRAMES_LOSSLESS", flow.GroupDetect)
	if err != nil {
		t.Fatal(err)
	}
	config := consumer.CachedInfo().Config
	config.AckWait = wait
	if _, err := b.bus.JetStream().UpdateConsumer(t.Context(), "FRAMES_LOSSLESS", config); err != nil {
		t.Fatal(err)
	}
}

// life is one life of a worker.
type life struct {
	*worker
	health *telemetry.Health
	own    *bus.Bus
	cancel context.CancelFunc
	ended  chan error
}

// start runs a worker with a stand-in; change, unless nil, changes its settings.
func (b bench) start(t testing.TB, s stand, change func(*Config)) *life {
	t.Helper()
	if base := s.base(); base.first == [2]int{} {
		base.first = [2]int{48, 64}
	}
	var cfg Config
	if err := service.Defaults(&cfg); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&cfg)
	}
	own, err := b.server.Connect(cfg.Group, nil)
	if err != nil {
		t.Fatal(err)
	}
	l := &life{health: new(telemetry.Health), own: own, ended: make(chan error, 1)}
	l.worker = newWorker(cfg, service.Env{Bus: own, Log: quiet, Metrics: prometheus.NewRegistry(), Health: l.health}, s, s, placement{provider: "cpu"})
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	go func() { l.ended <- l.worker.run(ctx) }()
	return l
}

// wait waits for the worker's end.
func (l *life) wait(t testing.TB) error {
	t.Helper()
	defer l.own.Close()
	select {
	case err := <-l.ended:
		if l.health.Ready() {
			t.Error("a worker that has ended is ready")
		}
		return err
	case <-time.After(patience):
		t.Fatal("the worker does not end")
		return nil
	}
}

func (l *life) stop(t testing.TB) {
	t.Helper()
	l.cancel()
	if err := l.wait(t); err != nil {
		t.Errorf("the worker ended with %v", err)
	}
}

// kill takes the connection away first: nothing more is acked, given back or noted, as after kill -9.
func (l *life) kill() {
	l.own.Conn().Close()
	l.cancel()
}

var pictures sync.Map // JPEGs by width

// frameOf is a lossless frame whose picture is that wide.
func frameOf(t testing.TB, seq uint64, width int) *flow.Frame {
	t.Helper()
	data, ok := pictures.Load(width)
	if !ok {
		var out bytes.Buffer
		if err := jpeg.Encode(&out, image.NewGray(image.Rect(0, 0, width, 48)), nil); err != nil {
			t.Fatal(err)
		}
		data, _ = pictures.LoadOrStore(width, out.Bytes())
	}
	return &flow.Frame{
		Version: flow.Wire, Source: "cam1", Session: "s", Seq: seq, Mode: flow.ModeLossless, Width: width, Height: 48, Sent: time.Now().UnixNano(),
		Partition: flow.Partition("cam1", flow.DefaultPartitions), Plan: []string{flow.GroupDetect}, Picture: data.([]byte),
	}
}

func liveFrameOf(t testing.TB, seq uint64, width int, budget time.Duration) *flow.Frame {
	f := frameOf(t, seq, width)
	f.Mode, f.Budget = flow.ModeLive, budget
	return f
}

func (b bench) publish(t testing.TB, frames ...*flow.Frame) {
	t.Helper()
	for _, f := range frames {
		if err := b.bus.PublishFrame(context.Background(), flow.DefaultGroups(), f); err != nil {
			t.Fatal(err)
		}
	}
}

// results reads n results of a mode, by seq, and fails when a frame has two.
func (b bench) results(t testing.TB, mode flow.Mode, n int) map[uint64]*flow.Result {
	t.Helper()
	messages, err := b.bus.TakeResults(context.Background(), flow.GroupDetect, mode, flow.Partition("cam1", flow.DefaultPartitions), n)
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Stop()
	results := map[uint64]*flow.Result{}
	for len(results) < n {
		msg, err := messages.Next(jetstream.NextMaxWait(patience))
		if err != nil {
			t.Fatalf("after %d of %d results: %v", len(results), n, err)
		}
		result := new(flow.Result)
		if err := errors.Join(flow.Decode(msg.Data(), result), result.Validate()); err != nil {
			t.Fatal(err)
		}
		if results[result.Seq] != nil {
			t.Fatalf("frame %d has two results", result.Seq)
		}
		results[result.Seq] = result
		if err := msg.DoubleAck(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	return results
}

// attempts are what is noted of a frame.
func (b bench) attempts(t testing.TB, seq uint64) flow.Attempts {
	t.Helper()
	a, err := b.bus.Attempts(context.Background(), flow.GroupDetect, flow.FrameID{Source: "cam1", Session: "s", Seq: seq})
	if err != nil {
		t.Fatal(err)
	}
	return a
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

// counts are how often something happened to each frame.
type counts struct {
	mu sync.Mutex
	n  map[int]int
}

func (c *counts) add(width int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[int]int{}
	}
	c.n[width]++
	return c.n[width]
}

func (c *counts) of(width int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[width]
}

var errRun = errors.Join(engine.ErrRun, errors.New("CUDA failure 700"))
