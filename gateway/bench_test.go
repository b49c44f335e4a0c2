package gateway_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/spatial-flow/spatial-flow/gateway"
)

// BenchmarkViewers is the time from the publishing of a scene, its picture of 100 KB at hand, until each of 8 viewers has
// it, over real websockets: alone, and beside 1,000 viewers of a source that is silent, in a process of their own, and one
// that watches but reads nothing. 30 scenes a second; -benchtime=900x gives 30 seconds of each.
func BenchmarkViewers(b *testing.B) {
	for _, beside := range []struct {
		name       string
		idle, slow bool
	}{{"alone", false, false}, {"idle=1000", true, false}, {"idle=1000+slow", true, true}} {
		b.Run(beside.name, func(b *testing.B) {
			nats := newProvisionedBench(b)
			r := nats.startReady(b, func(cfg *gateway.Config) { cfg.Live.MaxViewers = 2000 })
			if beside.idle {
				r.startCrowd(b)
			}
			if beside.slow {
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

// crowdOf is the environment variable with the gateway's address that makes this program a [crowd].
const crowdOf = "SPATIALFLOW_CROWD_OF"

// startCrowd runs a [crowd] until b ends and returns when all of it watches.
func (r *runner) startCrowd(b *testing.B) {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), crowdOf+"="+r.address)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = cmd.Wait() }) // killed
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		b.Fatalf("the crowd said %q: %v", line, err)
	}
}

// crowd is 1,000 viewers of a source that is silent, until it is killed. It prints a line when all have been answered.
func crowd(address string) {
	for range 1000 {
		conn, _, err := websocket.Dial(context.Background(), "ws://"+address+"/ws", nil)
		if err == nil {
			err = conn.Write(context.Background(), websocket.MessageText, []byte(`{"sources":["silent"]}`))
		}
		if err == nil {
			_, _, err = conn.Read(context.Background())
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "crowd:", err)
			os.Exit(1)
		}
		go func() {
			for err == nil {
				_, _, err = conn.Read(context.Background())
			}
		}()
	}
	fmt.Println("all watch")
	select {}
}
