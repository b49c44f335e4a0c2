package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/spatial-flow/spatial-flow/gateway"
)

// BenchmarkWatching is how many of the scenes of one source, 10 a second with pictures of 10 KB, reach 1,000 viewers that
// watch it, and how long after the publishing; the viewers are in a process of their own. -benchtime=200x gives 20 seconds.
func BenchmarkWatching(b *testing.B) {
	nats := newProvisionedBench(b)
	r := nats.startReady(b, func(cfg *gateway.Config) { cfg.Live.MaxViewers = 2000 })
	crowd := r.startWatchers(b)
	noise := make([]byte, 10_000)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	frame, scene := newFrame(b, "cam1", "s", 0), newScene(b, "cam1", "s", 0)
	copy(noise, frame.Picture)
	frame.Picture = noise
	ticker := time.NewTicker(time.Second / 10)
	defer ticker.Stop()
	published, memory, before := 0, 0.0, processorTime()
	for b.Loop() {
		frame.Seq++
		scene.Seq++
		nats.publishFrame(b, frame)
		<-ticker.C
		scene.Captured = time.Now().UnixNano()
		nats.publishScene(b, scene)
		if published++; published%10 == 0 {
			memory = max(memory, resident(b))
		}
	}
	spent := processorTime() - before
	got := crowd.end(b)
	b.ReportMetric(float64(got.Scenes)/float64(published*watchers), "delivered")
	b.ReportMetric(float64(got.P50.Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(got.P99.Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(spent.Microseconds())/float64(max(got.Scenes, 1)), "CPU-µs/scene")
	b.ReportMetric(float64(got.Processor.Microseconds())/float64(max(got.Scenes, 1)), "reader-CPU-µs/scene")
	b.ReportMetric(memory, "MB")
	b.ReportMetric(0, "ns/op")
}

// resident is the memory of this process, in MB.
func resident(b *testing.B) float64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(after)[0])
	if err != nil {
		b.Fatal(err)
	}
	return float64(kib) / 1024
}

// processorTime is what this process has taken of it.
func processorTime() time.Duration {
	var use syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &use) // can't fail for the process itself
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// watchersOf is the environment variable with the gateway's address that makes this program [watch] it.
const watchersOf = "SPATIALFLOW_WATCHERS_OF"

const watchers = 1000

// crowdOfWatchers is a process with viewers.
type crowdOfWatchers struct {
	cmd *exec.Cmd
	in  io.Closer
	out *bufio.Reader
}

// watched is what the viewers got.
type watched struct {
	Scenes    int
	P50, P99  time.Duration
	Processor time.Duration // that it took
}

// startWatchers returns when all of them watch cam1.
func (r *runner) startWatchers(b *testing.B) crowdOfWatchers {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), watchersOf+"="+r.address)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = cmd.Wait() }) // killed, unless it has ended
	c := crowdOfWatchers{cmd, in, bufio.NewReader(out)}
	if line, err := c.out.ReadString('\n'); err != nil {
		b.Fatalf("the watchers said %q: %v", line, err)
	}
	return c
}

func (c crowdOfWatchers) end(b *testing.B) (got watched) {
	b.Helper()
	time.Sleep(time.Second) // for what is still under way
	_ = c.in.Close()
	if err := json.NewDecoder(c.out).Decode(&got); err != nil {
		b.Fatal(err)
	}
	return got
}

// watch reads what viewers of cam1 get until standard input ends, and prints what that was.
func watch(address string) {
	var all sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	took := make([][]time.Duration, watchers)
	for i := range watchers {
		conn, _, err := websocket.Dial(ctx, "ws://"+address+"/ws", nil)
		if err == nil {
			conn.SetReadLimit(1 << 20)
			err = conn.Write(ctx, websocket.MessageText, []byte(`{"sources":["cam1"]}`))
		}
		if err == nil {
			_, _, err = conn.Read(ctx)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "watchers:", err)
			os.Exit(1)
		}
		all.Go(func() { took[i] = readScenes(ctx, conn) })
	}
	fmt.Println("all watch")
	_, _ = io.Copy(io.Discard, os.Stdin) // nothing but its end comes
	stop()
	all.Wait()
	together := slices.Concat(took...)
	slices.Sort(together)
	got := watched{Scenes: len(together), Processor: processorTime()}
	if got.Scenes > 0 {
		got.P50, got.P99 = together[len(together)/2], together[len(together)*99/100]
	}
	_ = json.NewEncoder(os.Stdout).Encode(got)
}

// readScenes reads until ctx ends and answers how long after its capture each scene was there.
func readScenes(ctx context.Context, conn *websocket.Conn) (took []time.Duration) {
	message := make([]byte, 64<<10)
	for {
		kind, reader, err := conn.Reader(ctx)
		if err != nil {
			return took
		}
		n, err := io.ReadFull(reader, message)
		if err != io.ErrUnexpectedEOF {
			return took
		}
		if kind != websocket.MessageBinary {
			continue
		}
		now := time.Now()
		const key = `"captured":"`
		at := bytes.Index(message[:n], []byte(key)) + len(key)
		text, _, _ := bytes.Cut(message[at:n], []byte{'"'})
		captured, err := time.Parse(time.RFC3339Nano, string(text))
		if err != nil {
			fmt.Fprintln(os.Stderr, "watchers:", err)
			os.Exit(1)
		}
		took = append(took, now.Sub(captured))
	}
}
