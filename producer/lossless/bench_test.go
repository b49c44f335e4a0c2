package lossless

import (
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/natsserver"
	"github.com/spatial-flow/spatial-flow/producer/account"
	"github.com/spatial-flow/spatial-flow/producer/source"
)

// BenchmarkAdmit opens, stores and closes one frame of 100 KiB; nobody takes the frames, so the stream is emptied
// between.
func BenchmarkAdmit(b *testing.B) {
	server, err := natsserver.Start(b.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer server.Stop()
	connection, err := server.Connect("producer", nil)
	if err != nil {
		b.Fatal(err)
	}
	defer connection.Close()
	groups := flow.DefaultGroups()
	if err := connection.Provision(b.Context(), flow.DefaultDeployment().With(groups)); err != nil {
		b.Fatal(err)
	}
	stream, err := connection.JetStream().Stream(b.Context(), "FRAMES_LOSSLESS")
	if err != nil {
		b.Fatal(err)
	}
	sums := account.New()
	l := &carrier{spec: source.Spec{Name: "bench"}, cfg: Config{StoreTimeout: time.Minute}, bus: connection, log: slog.New(slog.DiscardHandler),
		groups: groups, plan: groups.LosslessPlan(time.Now(), func(flow.Group) bool { return false }), account: sums, metrics: account.NewMetrics(prometheus.NewRegistry()).Of("bench"), session: "bench"}
	p := source.Picture{Data: make([]byte, 100<<10), Width: 768, Height: 576, Captured: time.Now()}
	seq := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		seq++
		if err := l.admit(b.Context(), p, seq); err != nil {
			b.Fatal(err)
		}
		sums.Done(l.id(seq), flow.OutcomeComplete, time.Now())
		if seq%2000 == 0 {
			b.StopTimer()
			if err := stream.Purge(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	}
}
