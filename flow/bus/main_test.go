package bus_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/natsserver"
	"github.com/spatial-flow/spatial-flow/flow/natsserver/natstest"
)

func TestMain(m *testing.M) {
	natstest.Main()
	goleak.VerifyTestMain(m)
}

const (
	lossless = flow.ModeLossless
	patience = 3 * time.Minute // for what happens at once
)

var quiet = slog.New(slog.DiscardHandler)

// start runs a server on dir until the test ends, or stop is called.
func start(t *testing.T, dir string) (b *bus.Bus, stop func()) {
	t.Helper()
	s, err := natsserver.Start(dir, "", "", quiet)
	if err != nil {
		t.Fatalf("server does not start: %v", err)
	}
	b, err = s.Connect("test", quiet)
	if err != nil {
		s.Stop()
		t.Fatalf("no connection to the embedded server: %v", err)
	}
	running := true
	stop = func() {
		if running {
			running = false
			b.Close()
			s.Stop()
		}
	}
	t.Cleanup(stop)
	return b, stop
}

// provisioned is a server of its own with the streams of the default groups.
func provisioned(t *testing.T) *bus.Bus {
	t.Helper()
	b, _ := start(t, t.TempDir())
	provision(t, b, flow.DefaultGroups(), flow.DefaultLimits())
	return b
}

func provision(t *testing.T, b *bus.Bus, groups flow.Groups, limits flow.Limits) {
	t.Helper()
	d := flow.DefaultDeployment().With(groups)
	d.Limits = limits
	if err := b.Provision(t.Context(), d); err != nil {
		t.Fatalf("provision %v: %v", groups, err)
	}
}

func frame(source string, seq uint64, plan ...string) *flow.Frame {
	return &flow.Frame{
		Version: flow.Wire, Source: source, Session: "run1", Seq: seq, Mode: lossless,
		Width: 64, Height: 48, Plan: plan, Picture: []byte{0xff, 0xd8, 0xff},
	}
}

func result(group, source string, seq uint64) *flow.Result {
	return &flow.Result{
		Version: flow.Wire, Group: group, Source: source, Session: "run1", Seq: seq, Mode: lossless, Plan: []string{group},
	}
}

func scene(source, session string, seq uint64) *flow.Scene {
	return &flow.Scene{
		Version: flow.Wire, Source: source, Session: session, Seq: seq, Mode: lossless,
		Plan: []string{"detect"}, Outcome: flow.OutcomeComplete,
	}
}

func publishFrames(t *testing.T, b *bus.Bus, groups flow.Groups, frames ...*flow.Frame) {
	t.Helper()
	for _, f := range frames {
		if err := b.PublishFrame(t.Context(), groups, f); err != nil {
			t.Fatal(err)
		}
	}
}

func publishScenes(t *testing.T, b *bus.Bus, scenes ...*flow.Scene) {
	t.Helper()
	for _, s := range scenes {
		if err := b.PublishScene(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
}

// wantWaiting waits until want messages wait for a consumer or are in its hands, and fails when it stays at another
// number: the server counts a moment after it has stored.
func wantWaiting(t *testing.T, b *bus.Bus, stream, consumer string, want int) {
	t.Helper()
	c, err := b.JetStream().Consumer(t.Context(), stream, consumer)
	if err != nil {
		t.Fatalf("consumer %s of %s: %v", consumer, stream, err)
	}
	eventually(t, fmt.Sprintf("%d messages of %s wait for %s", want, stream, consumer), func() bool {
		info, err := c.Info(t.Context())
		return err == nil && int(info.NumPending)+info.NumAckPending == want
	})
}

// stored is how many messages a stream holds.
func stored(t *testing.T, b *bus.Bus, stream string) int {
	t.Helper()
	s, err := b.JetStream().Stream(t.Context(), stream)
	if err != nil {
		t.Fatalf("stream %s: %v", stream, err)
	}
	return int(s.CachedInfo().State.Msgs)
}

// eventually asks until the server has done what it does behind an ack.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %v still not so: %s", patience, what)
		}
	}
}

// take takes n frames of a group, acks them, and returns their IDs.
func take(t *testing.T, b *bus.Bus, group string, n int) []string {
	t.Helper()
	messages, err := b.TakeFrames(t.Context(), group, lossless, n)
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Stop()
	var ids []string
	for range n {
		msg, err := messages.Next(jetstream.NextMaxWait(patience))
		if err != nil {
			t.Fatalf("%s got %v, then: %v", group, ids, err)
		}
		var f flow.Frame
		if err := flow.Decode(msg.Data(), &f); err != nil {
			t.Fatal(err)
		}
		if err := msg.DoubleAck(t.Context()); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, f.ID().String())
	}
	return ids
}
