package gateway_test

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/flow/natsserver"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/flow/telemetry"
	"github.com/spatial-flow/spatial-flow/gateway"
)

const patience = 3 * time.Minute

// bench is a NATS server with a connection of the test's own.
type bench struct {
	server *natsserver.Server
	bus    *bus.Bus
}

func newBench(t testing.TB) bench {
	t.Helper()
	return newBenchAt(t, "")
}

// newBenchAt is newBench with a server that other processes reach there.
func newBenchAt(t testing.TB, listen natsserver.Listen) bench {
	t.Helper()
	server, err := natsserver.Start(t.TempDir(), listen, "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	b, err := server.Connect("test", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return bench{server, b}
}

func newProvisionedBench(t testing.TB) bench {
	t.Helper()
	b := newBench(t)
	b.provision(t)
	return b
}

func (b bench) provision(t testing.TB, more ...flow.Group) {
	t.Helper()
	if err := b.bus.Provision(t.Context(), flow.DefaultDeployment().With(append(flow.DefaultGroups(), more...))); err != nil {
		t.Fatal(err)
	}
}

// runner is one life of a gateway.
type runner struct {
	t       testing.TB
	address string
	metrics *prometheus.Registry
	health  *telemetry.Health
	cancel  context.CancelFunc
	ended   chan error
}

// start runs a gateway until it listens; change, unless nil, alters its settings.
func (b bench) start(t testing.TB, change func(*gateway.Config)) *runner {
	t.Helper()
	return b.startLogging(t, slog.New(slog.DiscardHandler), change)
}

// startLogging is start of one that says something.
func (b bench) startLogging(t testing.TB, log *slog.Logger, change func(*gateway.Config)) *runner {
	t.Helper()
	connection, err := b.server.Connect("gateway", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(connection.Close)
	var cfg gateway.Config
	if err := service.Defaults(&cfg); err != nil {
		t.Fatal(err)
	}
	listening := make(chan net.Addr, 1)
	cfg.HTTP, cfg.Listening = "127.0.0.1:0", func(a net.Addr) { listening <- a }
	if change != nil {
		change(&cfg)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &runner{t: t, metrics: prometheus.NewRegistry(), health: new(telemetry.Health), cancel: cancel, ended: make(chan error, 1)}
	env := service.Env{Bus: connection, Log: log, Metrics: r.metrics, Health: r.health}
	go func() { r.ended <- gateway.Run(ctx, cfg, env) }()
	t.Cleanup(r.stop)
	select {
	case a := <-listening:
		r.address = a.String()
	case err := <-r.ended:
		t.Fatalf("gateway ended: %v", err)
	case <-time.After(patience):
		t.Fatal("gateway does not listen")
	}
	return r
}

// startReady is start, and waits for readiness.
func (b bench) startReady(t testing.TB, change func(*gateway.Config)) *runner {
	t.Helper()
	r := b.start(t, change)
	r.eventually("readiness", r.health.Ready)
	return r
}

func (r *runner) stop() {
	r.t.Helper()
	r.cancel()
	select {
	case err, first := <-r.ended:
		if first && err != nil {
			r.t.Errorf("gateway: %v", err)
		}
		if first {
			close(r.ended)
		}
	case <-time.After(patience):
		r.t.Error("gateway does not stop")
	}
}

func (r *runner) eventually(what string, ok func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("no %s", what)
		}
	}
}

// metric sums a counter over the label values that are given, as name, value, name, value…
func (r *runner) metric(name string, labels ...string) (sum float64) {
	r.t.Helper()
	families, err := r.metrics.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			have := map[string]string{}
			for _, pair := range m.GetLabel() {
				have[pair.GetName()] = pair.GetValue()
			}
			fits := true
			for i := 0; i+1 < len(labels); i += 2 {
				fits = fits && have[labels[i]] == labels[i+1]
			}
			if fits {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

// get answers the code, the headers and the body of a GET.
func (r *runner) get(path string, header ...string) (int, http.Header, string) {
	r.t.Helper()
	return r.do(http.MethodGet, path, header...)
}

func (r *runner) do(method, path string, header ...string) (int, http.Header, string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, "http://"+r.address+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	transport := &http.Transport{DisableKeepAlives: true}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, string(body)
}

// picture is a JPEG of its own for every seq.
func picture(t testing.TB, seq uint64) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, 64, 48))
	for y := range 48 {
		for x := range 64 {
			img.Set(x, y, color.RGBA{uint8(seq * 40), uint8(4 * x), uint8(5 * y), 255})
		}
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, img, nil); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// depthMap is a map that falls away to the right.
func depthMap(t testing.TB, width, height int, kind depthmap.Kind) *depthmap.Map {
	t.Helper()
	values := make([]float32, width*height)
	for i := range values {
		x, y := float64(i%width)/float64(width), float64(i/width)/float64(height)
		values[i] = float32(9 - 8*x + 0.6*math.Sin(9*x)*math.Cos(7*y))
	}
	var packer depthmap.Packer
	d, err := packer.Pack(values, width, height, kind, depthmap.DefaultBits)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func newFrame(t testing.TB, source, session string, seq uint64) *flow.Frame {
	return &flow.Frame{
		Version: flow.Wire, Source: source, Session: session, Seq: seq, Mode: flow.ModeLossless,
		Captured: time.Now().UnixNano(), Width: 64, Height: 48, Plan: []string{"detect", "depth"}, Picture: picture(t, seq),
	}
}

func newScene(t testing.TB, source, session string, seq uint64) *flow.Scene {
	d := depthMap(t, 16, 12, depthmap.InverseRelative)
	return &flow.Scene{
		Version: flow.Wire, Source: source, Session: session, Seq: seq, Mode: flow.ModeLossless,
		Captured: time.Now().UnixNano(), Width: 64, Height: 48, Plan: []string{"detect", "depth"}, Outcome: flow.OutcomeComplete,
		Detections: []flow.Detection{{
			Label: "person", Score: 0.9, Box: [4]float32{8, 8, 40, 40},
			Depth: &flow.BoxDepth{Value: 6, Kind: d.Kind, Nearness: 73},
		}},
		Answers: map[string]map[string]msgpack.RawMessage{"pose": {"people": {0x92, 0x01, 0xcb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0}}}, // [1, infinite]
		Depth:   d, Range: &depthmap.Range{Low: 1, High: 9}, Ledger: []flow.Hop{{Stage: "fuser", Wait: 1, Work: 2}},
	}
}

func (b bench) publishFrame(t testing.TB, f *flow.Frame) {
	t.Helper()
	if err := b.bus.PublishFrame(t.Context(), flow.DefaultGroups(), f); err != nil {
		t.Fatal(err)
	}
}

func (b bench) publishScene(t testing.TB, s *flow.Scene) {
	t.Helper()
	if err := b.bus.PublishScene(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}

// publish sends a frame through: its picture, then its scene.
func (b bench) publish(t testing.TB, source, session string, seq uint64) *flow.Scene {
	t.Helper()
	b.publishFrame(t, newFrame(t, source, session, seq))
	s := newScene(t, source, session, seq)
	b.publishScene(t, s)
	return s
}

// work acks all lossless frames, as the workers of all groups do: then they are gone from their stream.
func (b bench) work(t testing.TB) {
	t.Helper()
	js, err := jetstream.New(b.bus.Conn())
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "FRAMES_LOSSLESS")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// acceptLive tells of an accepted live frame as the server does once such a frame is stored.
func (b bench) acceptLive(t testing.TB, f *flow.Frame) {
	t.Helper()
	data, err := flow.Encode(nil, f)
	if err != nil {
		t.Fatal(err)
	}
	subject := "accepted" + strings.TrimPrefix(flow.DefaultGroups().FrameSubject(f.Mode, f.Plan, f.Source), "frames")
	msg := &nats.Msg{Subject: subject, Data: data, Header: nats.Header{nats.MsgIdHdr: {f.ID().String()}}}
	if err := b.bus.Conn().PublishMsg(msg); err != nil {
		t.Fatal(err)
	}
}
