package fuser_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
)

// BenchmarkFuser is how many scenes with maps of 518x518 samples a fuser joins and stores, out of results that wait for
// it, with its NATS server on the same cores. An operation is one scene.
func BenchmarkFuser(b *testing.B) {
	const side, sources = 518, 16
	values := make([]float32, side*side)
	for i := range values {
		x, y := float64(i%side), float64(i/side)
		values[i] = float32(4 + y/100 + math.Sin(x/40)*math.Cos(y/30) + 0.02*math.Sin(x*y))
	}
	var packer depthmap.Packer
	d, err := packer.Pack(values, side, side, depthmap.InverseRelative, depthmap.DefaultBits)
	if err != nil {
		b.Fatal(err)
	}
	bench := newBench(b)
	stored := make(chan struct{}, b.N)
	sub, err := bench.bus.Conn().Subscribe("done.fuser.*", func(*nats.Msg) { stored <- struct{}{} })
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	for i := range b.N {
		for _, group := range plan {
			r := result(group, fmt.Sprint("source", i%sources), uint64(i/sources)+1)
			if group == flow.GroupDepth {
				r.Depth = d
			} else {
				r.Detections = make([]flow.Detection, 20)
			}
			bench.publish(b, r)
		}
	}
	f := bench.startFuser(b)
	<-stored // it has its leases
	b.ResetTimer()
	for range b.N - 1 {
		<-stored
	}
	b.StopTimer()
	f.stop()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "scenes/s")
}
