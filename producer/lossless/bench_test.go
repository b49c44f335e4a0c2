package lossless

import (
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus/bustest"
	"github.com/spatial-flow/spatial-flow/flow/natsserver"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/producer/account"
	"github.com/spatial-flow/spatial-flow/producer/fleet"
	"github.com/spatial-flow/spatial-flow/producer/source"
)

// BenchmarkAdmit opens, stores and closes one frame of 100 KiB; nobody takes the frames, so the stream is emptied
// between.
func BenchmarkAdmit(b *testing.B) {
	server, err := natsserver.Start(b.TempDir(), "", "", slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer server.Stop()
	connection, err := server.Connect("producer", nil)
	if err != nil {
		b.Fatal(err)
	}
	defer connection.Close()
	if err := connection.Provision(b.Context(), flow.DefaultDeployment()); err != nil {
		b.Fatal(err)
	}
	stream, err := connection.JetStream().Stream(b.Context(), "FRAMES_LOSSLESS")
	if err != nil {
		b.Fatal(err)
	}
	deployment := flow.DefaultDeployment()
	specs, err := source.Parse([]string{"bench=/bench"}, source.Settings{Quality: 90})
	if err != nil {
		b.Fatal(err)
	}
	row := account.NewBoard().Add([]flow.SourceStatus{specs[0].Status()}, "bench")[0]
	l := newCarrier(specs[0], row, Config{StoreTimeout: time.Minute, Window: 32}, Shared{
		Env: service.Env{Bus: connection, Log: slog.New(slog.DiscardHandler)}, Deployed: bustest.Deployed(deployment), Fleet: fleet.New("own"),
		Metrics: account.NewMetrics(prometheus.NewRegistry()), Memory: NewMemory(512 << 20),
	}, func() bool { return true })
	p := source.Picture{Data: make([]byte, 100<<10), Width: 768, Height: 576, Captured: time.Now()}
	seq := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		seq++
		l.window.wait(b.Context(), len(p.Data))
		if err := l.admit(b.Context(), deployment, l.plan(deployment), p, seq); err != nil {
			b.Fatal(err)
		}
		l.onDone(stageFuser, flow.Done{Session: "bench", Seq: seq, Outcome: flow.OutcomeComplete})
		if seq%2000 == 0 {
			b.StopTimer()
			if err := stream.Purge(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	}
}
