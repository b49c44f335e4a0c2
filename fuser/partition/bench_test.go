package partition

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/fuser/delivery"
	"github.com/spatial-flow/spatial-flow/fuser/metrics"
)

// BenchmarkScenes is what partitions join, unpack and store when the store is in memory, from the hand-over of decoded
// results on: each source has at most 32 frames under way, as a lossless producer has. An operation is one scene. The
// second part of a name is how long the store takes for one scene, as a PubAck over a network does.
func BenchmarkScenes(b *testing.B) {
	for _, c := range []struct {
		name                string
		side                int // of the depth map
		puback              time.Duration
		partitions, sources int
	}{
		{"518x518/0ms/4partitions/16sources", 518, 0, 4, 16},
		{"518x518/0ms/4partitions/1source", 518, 0, 4, 1},
		{"32x32/0ms/4partitions/16sources", 32, 0, 4, 16},
		{"32x32/3ms/4partitions/64sources", 32, 3 * time.Millisecond, 4, 64},
		{"32x32/3ms/16partitions/64sources", 32, 3 * time.Millisecond, 16, 64},
	} {
		b.Run(c.name, func(b *testing.B) {
			m := metrics.New(prometheus.NewRegistry())
			store := &memory{puback: c.puback, open: map[string]chan struct{}{}}
			for i := range c.sources {
				store.open[fmt.Sprint("source", i)] = make(chan struct{}, 32)
			}
			in, stop := startBench(b, store, m, c.partitions)
			defer stop()
			detect, depth := benchResults(b, c.side)
			b.ReportAllocs()
			b.ResetTimer()
			began := cpu()
			var sources sync.WaitGroup
			for i := range c.sources {
				frames := b.N / c.sources
				if i < b.N%c.sources {
					frames++
				}
				sources.Go(func() { publishBench(fmt.Sprint("source", i), frames, store, in[i%c.partitions], detect, depth) })
			}
			sources.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "scenes/s")
			b.ReportMetric(float64((cpu()-began).Microseconds())/float64(b.N), "cpu-µs/op") // which other programs disturb less
		})
	}
}

func publishBench(source string, frames int, store *memory, in chan<- *delivery.Delivery, templates ...*flow.Result) {
	window := store.open[source]
	for seq := range uint64(frames) {
		window <- struct{}{}
		for _, template := range templates {
			r := *template
			r.Source, r.Seq, r.Detections = source, seq+1, append([]flow.Detection(nil), template.Detections...)
			in <- benchDelivery(&r)
		}
	}
	for range cap(window) { // all are stored
		window <- struct{}{}
	}
	for range cap(window) {
		<-window
	}
}

// benchResults are what two groups answer for a frame: 20 boxes, and a map of so many samples a side.
func benchResults(b *testing.B, side int) (detect, depth *flow.Result) {
	b.Helper()
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
	answer := func(group string) *flow.Result {
		return &flow.Result{
			Version: 1, Group: group, Session: "s", Mode: flow.ModeLossless, Width: 768, Height: 576,
			Plan: []string{flow.GroupDetect, flow.GroupDepth},
		}
	}
	detect, depth = answer(flow.GroupDetect), answer(flow.GroupDepth)
	depth.Depth = d
	for i := range 20 {
		x, y := float32(i%5*150), float32(i/5*130)
		detect.Detections = append(detect.Detections, flow.Detection{Label: "person", Score: 0.8, Box: [4]float32{x, y, x + 80, y + 160}})
	}
	return detect, depth
}

// benchMessage is a message that nobody hears of again.
type benchMessage struct{ jetstream.Msg }

func (benchMessage) Data() []byte      { return nil }
func (benchMessage) Ack() error        { return nil }
func (benchMessage) Nak() error        { return nil }
func (benchMessage) InProgress() error { return nil }

// memory is a store in memory, which forgets at once what it stores.
type memory struct {
	puback time.Duration
	open   map[string]chan struct{} // by source: a place for each frame whose scene is not stored
}

func (m *memory) Position(context.Context, string, string) (flow.Position, *flow.Scene, error) {
	return flow.Position{}, nil, nil
}

func (m *memory) StoredBefore(context.Context, flow.Groups, int, flow.FrameID) (bool, error) {
	return false, nil
}

func (m *memory) SetPosition(context.Context, string, string, flow.Position) error { return m.take() }

func (m *memory) PublishScene(_ context.Context, scene *flow.Scene) error {
	if err := m.take(); err != nil {
		return err
	}
	<-m.open[scene.Source]
	return nil
}

func (m *memory) take() error {
	if m.puback > 0 {
		time.Sleep(m.puback)
	}
	return nil
}

func (m *memory) LastScene(context.Context, string, string) (*flow.Scene, error) {
	return nil, bus.ErrNotFound
}

func (m *memory) LastLiveScene(context.Context, string) (*flow.Scene, error) {
	return nil, bus.ErrNotFound
}

func (m *memory) PublishDone(string, string, flow.Done) error { return nil }

// cpu is what this process has used so far, of all cores.
func cpu() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func silent() *slog.Logger { return slog.New(slog.DiscardHandler) }
