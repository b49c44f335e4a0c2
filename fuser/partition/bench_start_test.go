package partition

import (
	"context"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/fuser/delivery"
	"github.com/spatial-flow/spatial-flow/fuser/metrics"
)

// startBench runs so many partitions over a store.
func startBench(b *testing.B, store *memory, m metrics.Metrics, partitions int) (in []chan<- delivery.Delivery, stop func()) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	var tasks errgroup.Group
	for range partitions {
		results := make(chan delivery.Delivery)
		limits := Limits{Sessions: 1024, Bytes: 256 << 20, Prefetch: 32, HeldMax: 2 * time.Second}
		p := newPartition(limits, nil, store, service.Env{Log: silent()}, m)
		tasks.Go(func() error { return p.run(ctx, results) })
		in = append(in, results)
	}
	return in, func() {
		cancel()
		_ = tasks.Wait()
	}
}

func benchDelivery(r *flow.Result) delivery.Delivery {
	return delivery.Delivery{Result: r, Msg: benchMessage{}, Sequence: r.Seq}
}
