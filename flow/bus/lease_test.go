package bus_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
)

func TestLeaseHasOneHolder(t *testing.T) {
	b := provisioned(t)
	var first *bus.Lease
	eventually(t, "a lease is kept for longer than it lasts by itself", func() bool { // a machine that stands still loses it
		var err error
		if first, err = b.Lease(t.Context(), "partition.0", "a"); err != nil {
			return false
		}
		if _, err := b.Lease(t.Context(), "partition.0", "b"); !errors.Is(err, bus.ErrLeaseTaken) {
			t.Errorf("a second holder: %v, want ErrLeaseTaken", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		return first.Keep(ctx) == nil
	})
	if _, err := b.Lease(t.Context(), "partition.1", "b"); err != nil {
		t.Errorf("another lease: %v", err)
	}
	if _, err := b.Lease(t.Context(), "partition.0", "b"); !errors.Is(err, bus.ErrLeaseTaken) {
		t.Errorf("after 4 s of renewals: %v, want ErrLeaseTaken", err)
	}
	if err := first.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Lease(t.Context(), "partition.0", "b"); err != nil {
		t.Errorf("after its release: %v", err)
	}
	if err := first.Keep(t.Context()); !errors.Is(err, bus.ErrLeaseLost) {
		t.Errorf("the first holder goes on: %v, want ErrLeaseLost", err)
	}
}

func TestLeaseEndsByItself(t *testing.T) {
	b := provisioned(t)
	begin := time.Now()
	lost, err := b.Lease(t.Context(), "partition.0", "a")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a lease that nobody renews is free", func() bool {
		_, err := b.Lease(t.Context(), "partition.0", "b")
		return err == nil
	})
	if took := time.Since(begin); took < 2*time.Second {
		t.Errorf("free after %v, want 3 s", took)
	}
	if err := lost.Keep(t.Context()); !errors.Is(err, bus.ErrLeaseLost) {
		t.Errorf("the one who lost it: %v, want ErrLeaseLost", err)
	}
}

// Cut off from the server, the holder knows before another can have it.
func TestLeaseIsLostInAnOutage(t *testing.T) {
	b, stop := start(t, t.TempDir())
	provision(t, b, flow.DefaultGroups(), flow.DefaultLimits())
	lease, err := b.Lease(t.Context(), "partition.0", "a")
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(200*time.Millisecond, stop)
	if err := lease.Keep(t.Context()); !errors.Is(err, bus.ErrLeaseLost) {
		t.Errorf("without a server: %v, want ErrLeaseLost", err)
	}
	if lease.Held() {
		t.Error("it counts as held, though another may have it soon")
	}
}
