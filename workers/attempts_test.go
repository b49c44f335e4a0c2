package workers

import (
	"bytes"
	"context"
	"image"
	"image/jpeg"
	"log/slog"
	"strings"
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
	"github.com/spatial-flow/spatial-flow/workers/picture"
)

const patience = 20 * time.Second

// fatal is a slot whose worker dies of each frame.
type fatal struct {
	begun chan struct{}
	die   chan struct{}
}

func (f fatal) Answer(*picture.Picture, *flow.Result, func(string)) error {
	f.begun <- struct{}{}
	<-f.die
	return nil
}
func (fatal) Close() error { return nil }

// testWorker is one slot on a connection of its own.
func testWorker(env service.Env, s slot) *worker {
	return &worker{
		cfg: Config{Group: flow.GroupDetect}, env: env, picture: picture.NewPicture(), slot: s,
		load: newLoad(time.Now()), delays: new(delays), newer: new(bus.Newer),
		metrics: metrics{
			seconds: telemetry.NewStageSeconds(env.Metrics, flow.GroupDetect), refused: telemetry.NewRefused(env.Metrics),
			redelivered: telemetry.NewRedeliveries(env.Metrics, flow.GroupDetect).WithLabelValues(flow.GroupDetect),
		},
	}
}

// A frame that ends the worker which looks at it ends three, and is answered by the fourth.
func TestFrameThatEndsItsWorkers(t *testing.T) {
	t.Parallel()
	quiet := slog.New(slog.DiscardHandler)
	server, err := natsserver.Start(t.TempDir(), quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	b, err := server.Connect("test", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	d := flow.DefaultDeployment()
	if err := b.Provision(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	consumer, err := b.JetStream().Consumer(t.Context(), "FRAMES_LOSSLESS", flow.GroupDetect)
	if err != nil {
		t.Fatal(err)
	}
	soon := consumer.CachedInfo().Config
	soon.AckWait = 300 * time.Millisecond
	if _, err := b.JetStream().UpdateConsumer(t.Context(), "FRAMES_LOSSLESS", soon); err != nil {
		t.Fatal(err)
	}
	var picture bytes.Buffer
	if err := jpeg.Encode(&picture, image.NewGray(image.Rect(0, 0, 32, 24)), nil); err != nil {
		t.Fatal(err)
	}
	frame := &flow.Frame{
		Version: flow.Wire, Source: "cam1", Session: "s", Seq: 1, Mode: flow.ModeLossless, Width: 32, Height: 24,
		Plan: []string{flow.GroupDetect}, Picture: picture.Bytes(),
	}
	if err := b.PublishFrame(t.Context(), d.Groups, frame); err != nil {
		t.Fatal(err)
	}
	results, err := b.TakeResults(t.Context(), flow.GroupDetect, flow.ModeLossless, frame.Place(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer results.Stop()
	answered := make(chan *flow.Result, 1)
	go func() {
		msg, err := results.Next(jetstream.NextMaxWait(patience))
		if err != nil {
			return
		}
		result := new(flow.Result)
		if err := flow.Decode(msg.Data(), result); err != nil {
			t.Error(err)
		}
		answered <- result
	}()
	var dead sync.WaitGroup
	defer dead.Wait()
	for life := 1; ; life++ {
		own, err := server.Connect("detect", nil)
		if err != nil {
			t.Fatal(err)
		}
		slot := fatal{make(chan struct{}, 1), make(chan struct{})}
		w := testWorker(service.Env{Bus: own, Log: quiet, Metrics: prometheus.NewRegistry()}, slot)
		ctx, cancel := context.WithCancel(context.Background())
		live, lossless := make(chan offer), make(chan offer)
		dead.Go(func() {
			defer w.close()
			var taking sync.WaitGroup
			taking.Go(func() { _ = w.take(ctx, flow.ModeLossless, lossless) })
			_ = w.serve(ctx, live, lossless)
			taking.Wait()
		})
		select {
		case <-slot.begun:
			own.Conn().Close() // nothing more is acked, given back or noted, as after kill -9
			cancel()
			close(slot.die)
		case r := <-answered:
			cancel()
			if life != 4 || !strings.HasPrefix(r.Error, "given up") {
				t.Errorf("worker %d answers with the error %q, want the fourth to give up", life, r.Error)
			}
			dead.Wait()
			own.Close()
			return
		case <-time.After(patience):
			t.Fatalf("worker %d neither begins nor answers", life)
		}
	}
}
