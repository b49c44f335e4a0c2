package bus_test

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
)

// BenchmarkSync publishes frames of 100 kB, one after the other, to a server that writes them to the disk when the system does
// (the default: within 2 minutes), and to one that waits for the disk before it acknowledges (sync_interval: always).
func BenchmarkSync(b *testing.B) {
	for _, always := range []bool{false, true} {
		b.Run(fmt.Sprintf("always=%v", always), func(b *testing.B) {
			s, err := server.NewServer(&server.Options{JetStream: true, StoreDir: b.TempDir(), SyncAlways: always, MaxPayload: bus.MaxPayload, DontListen: true, NoSigs: true, NoLog: true})
			if err != nil {
				b.Fatal(err)
			}
			s.Start()
			defer func() { s.Shutdown(); s.WaitForShutdown() }()
			if !s.ReadyForConnections(patience) {
				b.Fatal("server does not start")
			}
			connection, err := bus.Connect(bus.Options{InProcess: s, Role: "bench"})
			if err != nil {
				b.Fatal(err)
			}
			defer connection.Close()
			if err := connection.Provision(b.Context(), flow.DefaultDeployment()); err != nil {
				b.Fatal(err)
			}
			f := frame("cam1", 0, "detect")
			f.Picture = make([]byte, 100_000)
			for b.Loop() {
				f.Seq++
				if err := connection.PublishFrame(b.Context(), flow.DefaultGroups(), f); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
