package fleet

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/natsserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Of two deployments in one account each hears its own services, and nobody else's.
func TestWatchHearsItsOwnDeployment(t *testing.T) {
	t.Parallel()
	quiet := slog.New(slog.DiscardHandler)
	server, err := natsserver.Start(t.TempDir(), "127.0.0.1:0", "", quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	connect := func(prefix string) *bus.Bus {
		b, err := bus.Connect(bus.Options{URL: server.URL(), Role: "test", Prefix: prefix, Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		return b
	}
	sides := map[string]*bus.Bus{"": connect(""), "blue": connect("blue")}
	for prefix, own := range map[string]int{"": 3, "blue": 8} {
		ctx, cancel := context.WithCancel(t.Context())
		f, ended := New("alive.producer.own"), make(chan error, 1)
		go func() { ended <- f.Watch(ctx, sides[prefix], quiet) }()
		for deadline := time.Now().Add(time.Minute); f.Slots("detect") == 0 && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			for other, b := range sides {
				if other != prefix { // heard before its own, if at all
					say(t, b, 100)
				}
			}
			say(t, sides[prefix], own)
		}
		if slots := f.Slots("detect"); slots != own {
			t.Errorf("prefix %q: %d slots, want the %d of its own worker", prefix, slots, own)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func say(t *testing.T, b *bus.Bus, slots int) {
	t.Helper()
	if err := b.PublishAlive(flow.Alive{Stage: "detect", Instance: "w", Parallel: slots}); err != nil {
		t.Fatal(err)
	}
	if err := b.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
}
