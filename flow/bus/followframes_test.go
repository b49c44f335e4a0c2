package bus_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
)

// gated is a connection to a server that holds back what the server sends while it is shut.
type gated struct {
	address string
	net.Conn
	mu   sync.Mutex
	more sync.Cond
	held []byte
	err  error
	shut bool
}

// InProcessConn dials the server.
func (g *gated) InProcessConn() (net.Conn, error) {
	conn, err := net.Dial("tcp", g.address)
	if err != nil {
		return nil, err
	}
	g.Conn, g.more.L = conn, &g.mu
	go func() {
		buffer := make([]byte, 1<<16)
		for {
			n, err := conn.Read(buffer)
			g.mu.Lock()
			g.held, g.err = append(g.held, buffer[:n]...), err
			g.more.Broadcast()
			g.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return g, nil
}

func (g *gated) Read(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.shut || len(g.held) == 0 && g.err == nil {
		g.more.Wait()
	}
	n := copy(p, g.held)
	if g.held = g.held[n:]; n == 0 {
		return 0, g.err
	}
	return n, nil
}

func (g *gated) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
	g.more.Broadcast()
}

// wait waits until the server has sent text so many times, behind the gate.
func (g *gated) wait(t *testing.T, text string, times int) {
	t.Helper()
	eventually(t, "the server sends "+text, func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return bytes.Count(g.held, []byte(text)) >= times
	})
}

// delivered is a frame as a worker gets it.
type delivered struct{ seq, times uint64 }

// followFrames runs FollowFrames over the frames of detect, acks what it gets, and tells it.
func followFrames(t *testing.T, b *bus.Bus, log *slog.Logger, handle func(jetstream.Msg)) (got chan delivered, reached chan struct{}, end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	got, reached = make(chan delivered, 64), make(chan struct{}, 64)
	ended := make(chan error, 1)
	go func() {
		ended <- b.FollowFrames(ctx, log, "detect", lossless, func() { reached <- struct{}{} }, func(msg jetstream.Msg) {
			var f flow.Frame
			meta, err := msg.Metadata()
			if err := errors.Join(err, flow.Decode(msg.Data(), &f)); err != nil {
				t.Error(err)
				return
			}
			handle(msg)
			if err := msg.Ack(); err != nil {
				t.Error(err)
			}
			got <- delivered{f.Seq, meta.NumDelivered}
		})
	}()
	end = func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("FollowFrames ended with %v, want nil", err)
			}
		case <-time.After(patience):
			t.Error("FollowFrames did not end with its context")
		}
	}
	return got, reached, end
}

func (d delivered) want(t *testing.T, seq, times uint64) {
	t.Helper()
	if d.seq != seq || d.times != times {
		t.Errorf("frame %d came, delivered %d times, want frame %d, %d times", d.seq, d.times, seq, times)
	}
}

func next[T any](t *testing.T, from chan T) T {
	t.Helper()
	select {
	case one := <-from:
		return one
	case <-time.After(patience):
		t.Fatal("nothing comes")
	}
	panic("unreachable")
}

// A frame that comes right behind heartbeats is not lost until AckWait.
func TestFrameBehindHeartbeats(t *testing.T) {
	t.Parallel()
	s := remote(t, t.TempDir(), -1)
	b, err := bus.Connect(bus.Options{URL: s.ClientURL(), Role: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	groups := flow.Groups{{Name: "detect", Slot: 1}}
	provision(t, b, groups, flow.DefaultLimits())
	gate := &gated{address: s.Addr().String()}
	worker, err := bus.Connect(bus.Options{InProcess: gate, Role: "detect"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(worker.Close)
	got, _, end := followFrames(t, worker, quiet, func(jetstream.Msg) {})
	defer end()
	publishFrames(t, b, groups, frame("cam1", 1, "detect"))
	next(t, got).want(t, 1, 1)
	gate.set(true)
	gate.wait(t, "Idle Heartbeat", 2)
	publishFrames(t, b, groups, frame("cam1", 2, "detect"))
	gate.wait(t, "run1", 1) // the frame
	gate.set(false)
	next(t, got).want(t, 2, 1)
}

// While a frame is in hand no other is taken: it may go to whoever is free.
func TestFollowFramesTakesOneAtATime(t *testing.T) {
	t.Parallel()
	b := provisioned(t)
	groups := flow.DefaultGroups()
	goOn, begun := make(chan struct{}), make(chan struct{}, 64)
	got, _, end := followFrames(t, b, quiet, func(jetstream.Msg) { begun <- struct{}{}; <-goOn })
	publishFrames(t, b, groups, frame("cam1", 1, "detect"), frame("cam1", 2, "detect"), frame("cam1", 3, "detect"))
	next(t, begun)
	if ids := take(t, b, "detect", 2); len(ids) != 2 {
		t.Errorf("another worker gets %v", ids)
	}
	close(goOn)
	next(t, got).want(t, 1, 1)
	end()
}

// What comes while the handler is at the last frame of a worker that stops is given back.
func TestFollowFramesEndsWithTheFrameInHand(t *testing.T) {
	t.Parallel()
	b := provisioned(t)
	goOn, begun := make(chan struct{}), make(chan struct{}, 64)
	got, _, end := followFrames(t, b, quiet, func(jetstream.Msg) { begun <- struct{}{}; <-goOn })
	publishFrames(t, b, flow.DefaultGroups(), frame("cam1", 1, "detect"))
	next(t, begun)
	ended := make(chan struct{})
	go func() { end(); close(ended) }()
	select {
	case <-ended:
		t.Error("it ends with a frame in hand")
	case <-time.After(1500 * time.Millisecond): // an event that must not happen has no other sign
	}
	close(goOn)
	<-ended
	next(t, got).want(t, 1, 1)
}

// The consumer goes, even while a frame is in hand, and comes back.
func TestFollowFramesGoesOn(t *testing.T) {
	t.Parallel()
	b, _ := start(t, t.TempDir())
	log := make(lines, 64)
	goOn, begun := make(chan struct{}, 64), make(chan struct{}, 64)
	got, reached, end := followFrames(t, b, slog.New(slog.NewTextHandler(log, nil)), func(jetstream.Msg) { begun <- struct{}{}; <-goOn })
	if line := next(t, log); !strings.Contains(line, bus.ErrNotProvisioned.Error()) {
		t.Errorf("log says %q", line)
	}
	groups := flow.Groups{{Name: "detect", Slot: 1}}
	provision(t, b, groups, flow.DefaultLimits())
	next(t, reached)
	publishFrames(t, b, groups, frame("cam1", 1, "detect"))
	next(t, begun)
	if err := b.JetStream().DeleteConsumer(t.Context(), "FRAMES_LOSSLESS", "detect"); err != nil {
		t.Fatal(err)
	}
	provision(t, b, groups, flow.DefaultLimits())
	goOn <- struct{}{}
	goOn <- struct{}{}
	next(t, got).want(t, 1, 1)
	publishFrames(t, b, groups, frame("cam1", 2, "detect"))
	next(t, got).want(t, 2, 1)
	if err := b.JetStream().DeleteConsumer(t.Context(), "FRAMES_LOSSLESS", "detect"); err != nil {
		t.Fatal(err)
	}
	next(t, log)
	provision(t, b, groups, flow.DefaultLimits())
	next(t, reached)
	publishFrames(t, b, groups, frame("cam1", 3, "detect"))
	goOn <- struct{}{}
	next(t, got).want(t, 3, 1)
	end()
}
