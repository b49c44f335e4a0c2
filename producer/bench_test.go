package producer

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/natsserver"
)

// BenchmarkVideoFrame reads and encodes one frame of 768x576.
func BenchmarkVideoFrame(b *testing.B) {
	root := os.Getenv("SPATIALFLOW_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "shared")
	}
	path := filepath.Join(root, "data", "pedestrians.avi")
	if _, err := os.Stat(path); err != nil {
		fmt.Fprintf(os.Stderr, "\n*** %s NEEDS THE SHARED DATA: %v\n\n", b.Name(), err)
		return
	}
	open := func() source {
		s, _, err := openSource(spec{path: path, settings: settings{quality: 90}}, Config{})
		if err != nil {
			b.Fatal(err)
		}
		return s
	}
	s := open()
	defer func() { _ = s.Close() }()
	var read, encode time.Duration
	bytes := 0
	b.ReportAllocs()
	for b.Loop() {
		p, err := s.Next(b.Context())
		p.finish()
		if errors.Is(err, io.EOF) {
			_ = s.Close()
			s = open()
			p, err = s.Next(b.Context())
			p.finish()
		}
		if err != nil {
			b.Fatal(err)
		}
		read, encode, bytes = read+p.read, encode+p.encode, bytes+len(p.data)
	}
	b.ReportMetric(float64(read.Nanoseconds())/float64(b.N), "read-ns/frame")
	b.ReportMetric(float64(encode.Nanoseconds())/float64(b.N), "encode-ns/frame")
	b.ReportMetric(float64(bytes)/float64(b.N), "bytes/frame")
}

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
	ledger := newLedger()
	l := &lossless{spec: spec{name: "bench"}, cfg: Config{StoreTimeout: time.Minute}, bus: connection, log: slog.New(slog.DiscardHandler),
		groups: groups, plan: groups.LosslessPlan(time.Now(), func(flow.Group) bool { return false }), ledger: ledger, metrics: newMetrics(prometheus.NewRegistry()).of("bench"), session: "bench"}
	p := picture{data: make([]byte, 100<<10), width: 768, height: 576, captured: time.Now()}
	seq := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		seq++
		if err := l.admit(b.Context(), p, seq); err != nil {
			b.Fatal(err)
		}
		ledger.done(l.id(seq), flow.OutcomeComplete, time.Now())
		if seq%2000 == 0 {
			b.StopTimer()
			if err := stream.Purge(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	}
}
