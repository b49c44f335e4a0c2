package gateway_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/gateway"
	"github.com/spatial-flow/spatial-flow/gateway/access"
)

// BenchmarkWrongTokens is how long one who has a token waits for the newest scene, 5,000 times one after the other, while nobody else asks
// and while another address sends wrong tokens: one after the other, and on many connections at once. Both in turn, five times, and the
// middle one of the five ratios. -benchtime=1x is enough.
func BenchmarkWrongTokens(b *testing.B) {
	for _, connections := range []int{1, 150} {
		b.Run(fmt.Sprint(connections), func(b *testing.B) {
			nats := newProvisionedBench(b)
			k := newTokens(b)
			right := k.add("right", "view", every, "")
			r := nats.startReady(b, func(c *gateway.Config) { k.use(c); c.HTTP = "0.0.0.0:0" })
			_, port, _ := net.SplitHostPort(r.address)
			r.address = "127.0.0.1:" + port
			nats.publish(b, "cam1", "s", 1)
			r.eventually("the scene", func() bool { code, _, _ := r.get("/api/v1/sources/cam1/scene", as(right)...); return code == 200 })
			for b.Loop() {
				var medians, tails []float64
				sent := int64(0)
				for range 5 {
					quiet50, quiet99 := r.scenes(b, right)
					stop := flood(b, net.JoinHostPort(otherHost(b), port), connections)
					loud50, loud99 := r.scenes(b, right)
					sent += stop()
					medians, tails = append(medians, loud50.Seconds()/quiet50.Seconds()), append(tails, loud99.Seconds()/quiet99.Seconds())
					b.Logf("%3d connections: median %v, %v with wrong tokens; p99 %v, %v", connections, quiet50, loud50, quiet99, loud99)
				}
				slices.Sort(medians)
				slices.Sort(tails)
				b.ReportMetric(medians[2], "median-ratio")
				b.ReportMetric(tails[2], "p99-ratio")
				b.ReportMetric(float64(sent), "wrong")
				b.ReportMetric(0, "ns/op")
			}
		})
	}
}

// otherHost is an address of this machine for which the limits per client hold.
func otherHost(b *testing.B) string {
	b.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		b.Fatal(err)
	}
	for _, a := range addresses {
		if network, ok := a.(*net.IPNet); ok && !network.IP.IsLoopback() && network.IP.To4() != nil {
			return network.IP.String()
		}
	}
	b.Skip("this machine has a loopback address alone")
	return ""
}

// scenes asks for the newest scene again and again.
func (r *runner) scenes(b *testing.B, token string) (p50, p99 time.Duration) {
	b.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	took := make([]time.Duration, 5000)
	for i := range took {
		began := time.Now()
		if code, err := askScene(b.Context(), transport, r.address, token); err != nil || code != 200 {
			b.Fatalf("%d, %v", code, err)
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	return took[len(took)/2], took[len(took)*99/100]
}

func askScene(ctx context.Context, transport *http.Transport, address, token string) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/api/v1/sources/cam1/scene", nil)
	if err != nil {
		return 0, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, err
}

// flood sends wrong tokens, on each connection one after the other, until stop is called, which says how many that were.
func flood(b *testing.B, address string, connections int) (stop func() int64) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	transport := &http.Transport{MaxIdleConnsPerHost: connections}
	var sent atomic.Int64
	var all sync.WaitGroup
	for range connections {
		all.Go(func() {
			for ctx.Err() == nil {
				if code, err := askScene(ctx, transport, address, access.NewToken()); err == nil && code == 200 {
					b.Error("a wrong token is let in")
				}
				sent.Add(1)
			}
		})
	}
	return func() int64 { cancel(); all.Wait(); transport.CloseIdleConnections(); return sent.Load() }
}
