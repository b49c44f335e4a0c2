package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/bus/bustest"
	"github.com/spatial-flow/spatial-flow/flow/natsserver"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/flow/telemetry"
	"github.com/spatial-flow/spatial-flow/producer/account"
	"github.com/spatial-flow/spatial-flow/producer/fleet"
	"github.com/spatial-flow/spatial-flow/producer/live"
	"github.com/spatial-flow/spatial-flow/producer/owner"
	"github.com/spatial-flow/spatial-flow/producer/source"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// newTestDoor is a door with the lease, which nobody takes messages for: a test hands them over.
func newTestDoor(t *testing.T, sources int) (*door, *prometheus.Registry) {
	t.Helper()
	server, err := natsserver.Start(t.TempDir(), "", "", quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	b, err := server.Connect("producer", quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if err := b.Provision(t.Context(), flow.DefaultDeployment()); err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	g := &door{
		cfg: Config{Settings: source.Settings{Mode: flow.ModeLive, Quality: 90}, Live: live.Config{Budget: time.Second}, Sources: sources},
		env: service.Env{Bus: b, Log: quiet, Metrics: registry}, board: account.NewBoard(), metrics: account.NewMetrics(registry),
		admission: live.NewAdmission(live.Config{}, quiet, bustest.Deployed(flow.DefaultDeployment()), fleet.New("own")),
		refused:   telemetry.NewRefused(registry), intake: source.Intake{Settings: source.Settings{Quality: 90}}, sources: map[string]*ingested{},
	}
	if g.lease, err = b.Lease(t.Context(), leaseName, "own"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.close(true) })
	return g, registry
}

func message(t *testing.T, source string) *nats.Msg {
	t.Helper()
	var out bytes.Buffer
	if err := jpeg.Encode(&out, image.NewGray(image.Rect(0, 0, 32, 16)), nil); err != nil {
		t.Fatal(err)
	}
	return &nats.Msg{Subject: prefix + source, Data: out.Bytes()}
}

// series counts the series that name a source.
func series(t *testing.T, registry *prometheus.Registry, source string) (n int) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if label.GetName() == "source" && label.GetValue() == source {
					n++
				}
			}
		}
	}
	return n
}

// Whoever invents names gets no more memory: the source that is silent longest makes room, and nothing is left of it.
func TestInventedSourcesAreForgotten(t *testing.T) {
	t.Parallel()
	g, registry := newTestDoor(t, 2)
	for i := range 50 {
		name := fmt.Sprint("cam", i)
		if err := g.handle(message(t, name)); err != nil {
			t.Fatalf("source %d: %v", i, err)
		}
		if series(t, registry, name) == 0 {
			t.Fatal("a source that is there has no series")
		}
		s := g.sources[name]
		s.heard = time.Now().Add(time.Duration(i)*time.Second - time.Hour)
		s.live.SkipWaiting(0, skippedWaited)
	}
	if statuses := g.board.Statuses(); len(statuses) != 2 || statuses[0].Source != "cam48" {
		t.Errorf("%d sources are on the board", len(statuses))
	}
	for i := range 48 {
		if n := series(t, registry, fmt.Sprint("cam", i)); n != 0 {
			t.Fatalf("%d series of cam%d are left", n, i)
		}
	}
	for range 2 {
		g.forget(forgetAfter)
	}
	if len(g.board.Statuses()) != 0 {
		t.Error("sources that are silent for long are not forgotten")
	}
}

// Sources that are not silent make no room.
func TestIngestedSourcesAreBounded(t *testing.T) {
	t.Parallel()
	g, _ := newTestDoor(t, 1)
	if err := g.handle(message(t, "cam1")); err != nil {
		t.Fatal(err)
	}
	if err := g.handle(message(t, "cam2")); !errors.Is(err, errFull) || !strings.Contains(err.Error(), "1 sources are ingested already") {
		t.Errorf("a second source: %v", err)
	}
}

// As long as NATS does not say whether another reads a source, nothing of it is taken, and its sender is asked to try again.
func TestUnknownReaderIsTemporary(t *testing.T) {
	t.Parallel()
	g, _ := newTestDoor(t, 8)
	if err := g.env.Bus.JetStream().DeleteKeyValue(t.Context(), bus.OwnersBucket); err != nil {
		t.Fatal(err)
	}
	inbox, err := g.env.Bus.Conn().SubscribeSync("_INBOX.answers")
	if err != nil {
		t.Fatal(err)
	}
	queue := make(chan *nats.Msg, 1)
	sub, err := g.env.Bus.Conn().ChanSubscribe(prefix+">", queue)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := g.env.Bus.Conn().PublishRequest(prefix+"cam1", "_INBOX.answers", message(t, "cam1").Data); err != nil {
		t.Fatal(err)
	}
	msg := <-queue
	err = g.handle(msg)
	if err == nil || errors.Is(err, errRefused) || len(g.sources) != 0 {
		t.Fatalf("%d sources: %v", len(g.sources), err)
	}
	g.turnAway(msg, err)
	if answer, err := inbox.NextMsg(10 * time.Second); err != nil || !strings.Contains(string(answer.Data), `"code":503`) {
		t.Errorf("answer: %v", err)
	}
}

// Who publishes names where the answer goes to: not to where only this program may publish.
func TestOnlyInboxesAreAnswered(t *testing.T) {
	t.Parallel()
	g, _ := newTestDoor(t, 8)
	conn := g.env.Bus.Conn()
	heard, err := conn.SubscribeSync(">")
	if err != nil {
		t.Fatal(err)
	}
	for _, reply := range []string{"done.fuser.cam1", "frames.live.detect._.cam1", "INBOX.x", ""} {
		respond(&nats.Msg{Sub: heard, Reply: reply}, nil, codeBusy, "no")
	}
	respond(&nats.Msg{Sub: heard, Reply: "_INBOX_yard.x"}, nil, codeBusy, "yes")
	if msg, err := heard.NextMsg(10 * time.Second); err != nil || msg.Subject != "_INBOX_yard.x" {
		t.Errorf("%v, %v: heard first", msg, err)
	}
}

// A name that a producer reads is nobody else's.
func TestNameOfAnotherProducerIsRefused(t *testing.T) {
	t.Parallel()
	g, _ := newTestDoor(t, 8)
	if _, err := g.env.Bus.Lease(t.Context(), owner.LeaseName("cam1"), "other"); err != nil {
		t.Fatal(err)
	}
	if err := g.handle(message(t, "cam1")); err == nil || !strings.Contains(err.Error(), "is read by other") {
		t.Errorf("handled: %v", err)
	}
}

// After the lease is lost the sources are another's: they leave the board and the metrics, and what is queued gets an answer.
func TestLostLeaseOfIngest(t *testing.T) {
	t.Parallel()
	g, registry := newTestDoor(t, 8)
	if err := g.handle(message(t, "cam1")); err != nil {
		t.Fatal(err)
	}
	g.close(true)
	if len(g.board.Statuses()) != 0 || len(g.sources) != 0 || series(t, registry, "cam1") != 0 {
		t.Errorf("left are %+v, %d sources, %d series", g.board.Statuses(), len(g.sources), series(t, registry, "cam1"))
	}
	conn := g.env.Bus.Conn()
	queue := make(chan *nats.Msg, 4)
	sub, err := conn.ChanSubscribe("queued", queue)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	inbox, err := conn.SubscribeSync("_INBOX.answers")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := conn.PublishRequest("queued", "_INBOX.answers", nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	for len(queue) < 3 {
		time.Sleep(time.Millisecond)
	}
	refuseAll(queue)
	for i := range 3 {
		if msg, err := inbox.NextMsg(10 * time.Second); err != nil || !strings.Contains(string(msg.Data), retryElsewhere) {
			t.Fatalf("answer %d: %v", i, err)
		}
	}
}

// What takes time is not done by the goroutine that takes messages: a picture that must be decoded is only looked at, also one
// that is broken, of which its sender hears later.
func TestPicturesAreDecodedElsewhere(t *testing.T) {
	t.Parallel()
	g, _ := newTestDoor(t, 8)
	var out bytes.Buffer
	if err := png.Encode(&out, image.NewGray(image.Rect(0, 0, 32, 16))); err != nil {
		t.Fatal(err)
	}
	if err := g.handle(&nats.Msg{Subject: prefix + "cam1", Data: out.Bytes()[:50]}); err != nil {
		t.Errorf("it was decoded: %v", err)
	}
}
