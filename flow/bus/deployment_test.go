package bus_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
)

func wait(t *testing.T, what string, changed <-chan struct{}) {
	t.Helper()
	select {
	case <-changed:
	case <-time.After(patience):
		t.Fatalf("%s: no change", what)
	}
}

// Who comes before the deployment waits for it, and then sees every change without asking.
func TestWatch(t *testing.T) {
	t.Parallel()
	b, _ := start(t, t.TempDir())
	type answer struct {
		deployed *bus.Deployed
		err      error
	}
	answers, said := make(chan answer, 1), make(lines, 8)
	go func() {
		deployed, err := b.Watch(t.Context(), slog.New(slog.NewTextHandler(said, nil)))
		answers <- answer{deployed, err}
	}()
	<-said // that it waits
	provision(t, b, flow.DefaultGroups(), flow.DefaultLimits())
	var got answer
	select {
	case got = <-answers:
	case <-time.After(patience):
		t.Fatal("the object is there, and the watch does not say so")
	}
	if got.err != nil {
		t.Fatal(got.err)
	}
	now, changed := got.deployed.Now()
	if now.Partitions != flow.DefaultPartitions || now.Wire != flow.Wire || len(now.Groups) != 2 {
		t.Errorf("deployment is %+v", now)
	}
	groups := append(flow.DefaultGroups(), flow.Group{Name: "pose", Slot: 3, Need: flow.NeedOptional})
	provision(t, b, groups, flow.DefaultLimits())
	wait(t, "a third group", changed)
	if got := got.deployed.Groups(); len(got) != 3 || got[2].Need != flow.NeedOptional {
		t.Errorf("groups are %v", got)
	}
	_, changed = got.deployed.Now()
	provision(t, b, groups, flow.DefaultLimits())
	select {
	case <-changed:
		t.Error("the same object again is a change")
	case <-time.After(100 * time.Millisecond):
	}
}

// An object that is newer than the program is an error at first, and changes nothing later.
func TestWatchOfWhatIsNotUnderstood(t *testing.T) {
	t.Parallel()
	b := provisioned(t)
	kv, err := b.JetStream().KeyValue(t.Context(), bus.DeploymentBucket)
	if err != nil {
		t.Fatal(err)
	}
	said := make(lines, 8)
	deployed, err := b.Watch(t.Context(), slog.New(slog.NewTextHandler(said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	newer := flow.DefaultDeployment()
	newer.Version = flow.DeploymentVersion + 1
	if _, err := kv.Put(t.Context(), "deployment", newer.Encode()); err != nil {
		t.Fatal(err)
	}
	<-said
	if now, _ := deployed.Now(); now.Version != flow.DeploymentVersion {
		t.Errorf("it is taken: %+v", now)
	}
	if _, err := b.Watch(t.Context(), quiet); !errors.Is(err, flow.ErrNewer) {
		t.Errorf("a watch that begins with it: %v, want ErrNewer", err)
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b, _ := start(t, t.TempDir())
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	cancel(why)
	if _, err := b.Watch(ctx, quiet); !errors.Is(err, why) {
		t.Errorf("%v, want the cause", err)
	}
}
