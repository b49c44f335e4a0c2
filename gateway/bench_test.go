package gateway_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/spatial-flow/spatial-flow/gateway"
)

// BenchmarkViewers is the time from the publishing of a scene, its picture of 100 KB at hand, until each of 8 viewers has
// it, over real websockets: alone, and beside 1,000 viewers of a source that is silent and one that watches but reads
// nothing. 30 scenes a second; -benchtime=900x gives 30 seconds of each.
func BenchmarkViewers(b *testing.B) {
	for _, crowd := range []struct {
		name       string
		idle, slow int
	}{{"alone", 0, 0}, {"idle=1000", 1000, 0}, {"idle=1000+slow", 1000, 1}} {
		b.Run(crowd.name, func(b *testing.B) {
			nats := newProvisionedBench(b)
			r := nats.startReady(b, func(cfg *gateway.Config) { cfg.MaxViewers = 2000 })
			for range crowd.idle {
				c := r.watch("silent")
				go func() {
					for {
						if _, _, err := c.conn.Read(b.Context()); err != nil {
							return
						}
					}
				}()
			}
			for range crowd.slow {
				r.watch("cam1")
			}
			const viewers = 8
			took := make(chan time.Duration, viewers)
			var published time.Time
			for range viewers {
				c := r.watch("cam1")
				go func() {
					for {
						kind, _, err := c.conn.Read(b.Context())
						if err != nil {
							return
						}
						if kind == websocket.MessageBinary {
							took <- time.Since(published)
						}
					}
				}()
			}
			noise := make([]byte, 100_000)
			for i := range noise {
				noise[i] = byte(rand.Uint32())
			}
			frame, scene := newFrame(b, "cam1", "s", 0), newScene(b, "cam1", "s", 0)
			copy(noise, frame.Picture)
			frame.Picture = noise
			var all []time.Duration
			ticker := time.NewTicker(time.Second / 30)
			defer ticker.Stop()
			for b.Loop() {
				frame.Seq++
				scene.Seq++
				nats.publishFrame(b, frame)
				<-ticker.C
				scene.Captured = time.Now().UnixNano()
				published = time.Now()
				nats.publishScene(b, scene)
				for range viewers {
					select {
					case d := <-took:
						all = append(all, d)
					case <-time.After(patience):
						b.Fatal("a viewer has no scene")
					}
				}
			}
			slices.Sort(all)
			b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(0, "ns/op")
		})
	}
}
