package bus_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/porttest"
)

// lines is a log whose lines a test waits for.
type lines chan string

func (l lines) Write(p []byte) (int, error) { l <- string(p); return len(p), nil }

// follower runs Follow over the frames of detect, acks what it gets, and tells the seqs.
type follower struct {
	seqs  chan uint64
	log   lines
	ended chan error
	stop  context.CancelFunc
}

func follow(t *testing.T, b *bus.Bus) *follower {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	f := &follower{seqs: make(chan uint64, 64), log: make(lines, 64), ended: make(chan error, 1), stop: cancel}
	open := func(ctx context.Context) (bus.Messages, error) { return b.TakeFrames(ctx, "detect", lossless, 4) }
	go func() {
		f.ended <- bus.Follow(ctx, slog.New(slog.NewTextHandler(f.log, nil)), open, func(msg jetstream.Msg) {
			var got flow.Frame
			if err := errors.Join(flow.Decode(msg.Data(), &got), msg.Ack()); err != nil {
				t.Error(err)
			}
			f.seqs <- got.Seq
		})
	}()
	t.Cleanup(cancel)
	return f
}

func (f *follower) expect(t *testing.T, seq uint64) {
	t.Helper()
	select {
	case got := <-f.seqs:
		if got != seq {
			t.Fatalf("frame %d came, want %d", got, seq)
		}
	case <-time.After(patience):
		t.Fatalf("frame %d does not come", seq)
	}
}

func (f *follower) expectLog(t *testing.T, text string) {
	t.Helper()
	select {
	case line := <-f.log:
		if !strings.Contains(line, text) {
			t.Fatalf("log says %q, want %q", line, text)
		}
	case <-time.After(patience):
		t.Fatalf("log never says %q", text)
	}
}

func (f *follower) end(t *testing.T) {
	t.Helper()
	f.stop()
	select {
	case err := <-f.ended:
		if err != nil {
			t.Errorf("Follow ended with %v, want nil", err)
		}
	case <-time.After(patience):
		t.Fatal("Follow did not end with its context")
	}
	if len(f.log) != 0 {
		t.Errorf("%d more lines were logged, the first: %s", len(f.log), <-f.log)
	}
}

func TestFollowWaitsForTheConsumer(t *testing.T) {
	b, _ := start(t, t.TempDir())
	f := follow(t, b)
	f.expectLog(t, bus.ErrNotProvisioned.Error())
	groups := flow.Groups{{Name: "detect", Slot: 1}}
	provision(t, b, groups, flow.DefaultLimits())
	publishFrames(t, b, groups, frame("cam1", 1, "detect"), frame("cam1", 2, "detect"))
	f.expect(t, 1)
	f.expect(t, 2)

	// The consumer goes and comes back: it says so once more, and goes on.
	if err := b.JetStream().DeleteConsumer(t.Context(), "FRAMES_LOSSLESS", "detect"); err != nil {
		t.Fatal(err)
	}
	f.expectLog(t, bus.ErrNotProvisioned.Error())
	provision(t, b, groups, flow.DefaultLimits())
	publishFrames(t, b, groups, frame("cam1", 3, "detect"))
	f.expect(t, 3)
	f.end(t)
}

func TestFollowEndsWhileItWaits(t *testing.T) {
	b, _ := start(t, t.TempDir())
	waiting := follow(t, b)
	waiting.expectLog(t, "waiting for nats")
	waiting.end(t)

	provision(t, b, flow.DefaultGroups(), flow.DefaultLimits())
	idle := follow(t, b)
	publishFrames(t, b, flow.DefaultGroups(), frame("cam1", 1, "detect"))
	idle.expect(t, 1) // now it waits for the next
	idle.end(t)
}

// An ended context opens nothing.
func TestFollowOfAnEndedContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	open := func(context.Context) (bus.Messages, error) { t.Error("opened"); return nil, bus.ErrNotProvisioned }
	if err := bus.Follow(ctx, quiet, open, nil); err != nil {
		t.Errorf("Follow of an ended context: %v, want nil", err)
	}
}

// remote runs a server that is reached over TCP, as in a cluster; port -1 takes a free one.
func remote(t *testing.T, dir string, port int) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, MaxPayload: bus.MaxPayload, NoSigs: true, NoLog: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("server is not ready")
	}
	return s
}

func TestFollowGoesOnAfterARestartOfTheServer(t *testing.T) {
	dir, groups := t.TempDir(), flow.Groups{{Name: "detect", Slot: 1}}
	port := porttest.Port(t)
	s := remote(t, dir, port)
	b, err := bus.Connect(bus.Options{URL: s.ClientURL(), Role: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	provision(t, b, groups, flow.DefaultLimits())
	f := follow(t, b)
	publishFrames(t, b, groups, frame("cam1", 1, "detect"))
	f.expect(t, 1)
	if away := b.Away(); away != 0 {
		t.Errorf("away for %v with a server", away)
	}
	s.Shutdown()
	s.WaitForShutdown()
	eventually(t, "the connection has seen the server go", func() bool { return b.Away() > 0 })
	began := time.Now()
	if err := b.PublishFrame(t.Context(), groups, frame("cam1", 7, "detect")); err == nil {
		t.Error("a frame is published while there is no server")
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("publishing without a server fails after %v, want at once", took)
	}

	remote(t, dir, port)
	eventually(t, "a frame is stored after the restart", func() bool {
		return b.PublishFrame(t.Context(), groups, frame("cam1", 2, "detect")) == nil
	})
	if away := b.Away(); away != 0 {
		t.Errorf("away for %v with a server again", away)
	}
	f.expect(t, 2) // and not 7: what failed is not sent late
	f.stop()
	if err := <-f.ended; err != nil {
		t.Errorf("Follow ended with %v, want nil", err)
	}
}

// However many results a taker asks for, those of a megabyte that are on their way are bounded by their bytes.
func TestTakenResultsAreBoundedByBytes(t *testing.T) {
	t.Parallel()
	b := provisioned(t)
	const stored, most = 40, 16 // of a MiB each, and twice 8 MiB
	for seq := uint64(1); seq <= stored; seq++ {
		r := result("detect", "cam1", seq)
		r.Error = strings.Repeat("e", 1<<20)
		if err := b.PublishResult(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	messages, err := b.TakeResults(t.Context(), "detect", lossless, 0, stored)
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Stop()
	if _, err := messages.Next(jetstream.NextMaxWait(patience)); err != nil { // which asks for the others too
		t.Fatal(err)
	}
	taken, same := 0, 0
	for end := time.Now().Add(patience); same < 20; {
		c, err := b.JetStream().Consumer(t.Context(), "RESULTS_DETECT_LOSSLESS", "FUSE_0")
		if err != nil {
			t.Fatal(err)
		}
		if now := c.CachedInfo().NumAckPending; now > 0 && now == taken {
			same++
		} else {
			taken, same = now, 0
		}
		if time.Now().After(end) {
			t.Fatal("nothing is on its way")
		}
	}
	if taken > most {
		t.Errorf("%d results of a MiB are on their way, at most %d", taken, most)
	}
}

// A taker notices that its consumer is gone also when its request meets nobody, and nothing tells it so.
func TestTakerNoticesThatItsConsumerIsGone(t *testing.T) {
	t.Parallel()
	b := provisioned(t)
	messages, err := b.TakeResults(t.Context(), "detect", lossless, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Stop()
	if err := b.JetStream().DeleteConsumer(t.Context(), "RESULTS_DETECT_LOSSLESS", "FUSE_0"); err != nil { // nothing was asked for yet
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := messages.Next(jetstream.NextContext(ctx)); !errors.Is(err, bus.ErrNotProvisioned) {
		t.Errorf("it takes on: %v", err)
	}
}
