package bus_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/natsserver/natstest"
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

// What a watch goes through: it says what the object says in the end, and never another one in between.
func TestWatchSurvives(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{Servers: 1})
	b, other := server.Connect(t, "test"), server.Connect(t, "other")
	ask := func(scenesKeep time.Duration) flow.Deployment {
		t.Helper()
		d := small(1)
		d.Limits.ScenesKeep = scenesKeep
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		if err := other.Provision(ctx, d); err != nil {
			t.Fatal(err)
		}
		return d
	}
	first := ask(time.Minute)
	d, err := b.Watch(t.Context(), quiet)
	if err != nil {
		t.Fatal(err)
	}
	last := first.Limits.ScenesKeep
	wants := func(what string, want flow.Deployment) {
		t.Helper()
		end := time.After(2 * time.Minute)
		for {
			now, changed := d.Now()
			switch now.Limits.ScenesKeep {
			case want.Limits.ScenesKeep:
				last = now.Limits.ScenesKeep
				return
			case last:
			default:
				t.Fatalf("%s: it says %s", what, now.Encode())
			}
			select {
			case <-changed:
			case <-end:
				t.Fatalf("%s: it still says %s", what, now.Encode())
			}
		}
	}
	wants("at first", first)
	wants("another object", ask(2*time.Minute))
	for round := range 2 { // what is made anew has the revisions of the one before
		if err := other.JetStream().DeleteKeyValue(t.Context(), bus.DeploymentBucket); err != nil {
			t.Fatal(err)
		}
		wants("a bucket that is made anew", ask(time.Duration(3+round)*time.Minute))
		wants("and changes", ask(time.Duration(13+round)*time.Minute))
	}
	kv, err := other.JetStream().KeyValue(t.Context(), bus.DeploymentBucket)
	if err != nil {
		t.Fatal(err)
	}
	if err := kv.Purge(t.Context(), "deployment"); err != nil {
		t.Fatal(err)
	}
	wants("an object that is written again", ask(20*time.Minute))
	server.Servers[0].Kill()
	server.Servers[0].Start(t)
	server.Wait(t)
	wants("a server that is started again", ask(30*time.Minute))
	server.Servers[0].Kill()
	server.Servers[0].Start(t)
	server.Wait(t)
	if err := repeat(t, func(ctx context.Context) error {
		return other.JetStream().DeleteKeyValue(ctx, bus.DeploymentBucket)
	}); err != nil {
		t.Fatal(err)
	}
	wants("both", ask(40*time.Minute))
}

// repeat asks until a connection has come back.
func repeat(t *testing.T, call func(context.Context) error) (err error) {
	t.Helper()
	for range 600 {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		err = call(ctx)
		cancel()
		if err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

// Those who hold a lost connection hear of the object all the same, once the server is back and it was changed in between.
func TestWatchMissesNothingWhileItIsAway(t *testing.T) {
	t.Parallel()
	cluster := natstest.Start(t, natstest.Options{Servers: 3})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	mine, err := bus.Connect(bus.Options{URL: cluster.Servers[0].URL(), Role: "test", Log: quiet}) // of one server alone
	if err != nil {
		t.Fatal(err)
	}
	defer mine.Close()
	other := cluster.Connect(t, "other")
	if err := other.Provision(ctx, small(3)); err != nil {
		t.Fatal(err)
	}
	d, err := mine.Watch(ctx, quiet)
	if err != nil {
		t.Fatal(err)
	}
	cluster.Servers[0].Kill()
	next := small(3)
	next.Limits.ScenesKeep = time.Hour
	if err := other.Provision(ctx, next); err != nil {
		t.Fatal(err)
	}
	cluster.Servers[0].Start(t)
	for {
		now, changed := d.Now()
		if now.Limits.ScenesKeep == time.Hour {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("it still says %s", now.Encode())
		}
	}
}
