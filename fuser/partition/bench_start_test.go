package partition

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/bus/bustest"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/fuser/delivery"
	"github.com/spatial-flow/spatial-flow/fuser/join"
	"github.com/spatial-flow/spatial-flow/fuser/metrics"
)

// startBench runs so many partitions over a store.
func startBench(b *testing.B, store *memory, m metrics.Metrics, partitions int) (in []chan<- *delivery.Delivery, stop func()) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	shared := &Shared{
		Limits: Limits{Sources: 1024, Bytes: 256 << 20, Prefetch: 32, HeldMax: 2 * time.Second}, Env: service.Env{Log: silent()},
		Store: store, Metrics: m, Deployed: bustest.Deployed(flow.DefaultDeployment()), Newer: new(bus.Newer),
		Live: join.NewLags(), Lossless: join.NewLags(), Unpackers: join.NewUnpackers(),
	}
	var tasks errgroup.Group
	for number := range partitions {
		p := newPartition(shared, number)
		tasks.Go(func() error { return p.dispatch(ctx, func(pulling) {}) })
		in = append(in, p.results)
	}
	return in, func() {
		cancel()
		_ = tasks.Wait()
	}
}

var benchSequence atomic.Uint64

func benchDelivery(r *flow.Result) *delivery.Delivery {
	return delivery.New(r, benchMessage{}, &jetstream.MsgMetadata{Sequence: jetstream.SequencePair{Stream: benchSequence.Add(1)}})
}
