package bus_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/flow/natsserver/natstest"
)

// small is a deployment with few consumers: each is a Raft group of its own.
func small(replicas int) flow.Deployment {
	d := deployment(detect)
	d.Partitions, d.Limits.Replicas, d.Limits.LiveReplicas = 2, replicas, replicas
	return d
}

func streams(t *testing.T, b *bus.Bus) (names []string) {
	t.Helper()
	list := b.JetStream().StreamNames(t.Context())
	for name := range list.Name() {
		names = append(names, name)
	}
	if list.Err() != nil {
		t.Fatal(list.Err())
	}
	return names
}

func wantReplicas(t *testing.T, b *bus.Bus, want int) {
	t.Helper()
	names := streams(t, b)
	if len(names) != 11 {
		t.Errorf("streams %v, want 11", names)
	}
	for _, name := range names {
		s, err := b.JetStream().Stream(t.Context(), name)
		if err != nil || s.CachedInfo().Config.Replicas != want {
			t.Errorf("%s: %v, want %d replicas", name, err, want)
		}
	}
}

// Three servers: from one replica to three with messages in the streams, by one command, and what a stream with a leader that
// can change asks of those who write.
func TestCluster(t *testing.T) {
	t.Parallel()
	cluster := natstest.Start(t, natstest.Options{Servers: 3})
	b := cluster.Connect(t, "test")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := b.Provision(ctx, small(1)); err != nil {
		t.Fatal(err)
	}
	for seq := range uint64(20) {
		publishFrames(t, b, flow.Groups{detect}, frame("cam1", seq+1, "detect"))
		publishScenes(t, b, scene("cam1", "run1", seq+1))
	}
	if err := b.SetPosition(ctx, "cam1", "run1", flow.Position{Seq: 20, Partition: 1}); err != nil {
		t.Fatal(err)
	}
	if err := b.Provision(ctx, small(3)); err != nil {
		t.Fatalf("from one replica to three: %v", err)
	}
	wantReplicas(t, b, 3)
	eventually(t, "the object says so", func() bool { return deployed(t, b).Limits.Replicas == 3 }) // any replica may be read
	eventually(t, "once more changes nothing", func() bool {
		changes, err := b.Apply(ctx, small(3))
		return err == nil && len(changes) == 0
	})
	if got := take(t, b, "detect", 20); got[0] != "cam1/run1/1" || got[19] != "cam1/run1/20" {
		t.Errorf("frames are %v", got)
	}
	if position, last, err := b.Position(ctx, "cam1", "run1"); err != nil || position.Seq != 20 || last == nil || last.Seq != 20 {
		t.Errorf("the position is %+v, %+v, %v", position, last, err)
	}

	// Thirty store one scene at once: one has, the others are told so.
	var all sync.WaitGroup
	var stored atomic.Int32
	one := scene("cam1", "run1", 21)
	for range 30 {
		all.Go(func() {
			err := bus.Store(ctx, bus.Policy{}, func(ctx context.Context) error { return b.PublishScene(ctx, one) })
			switch {
			case err == nil:
				stored.Add(1)
			case !errors.Is(err, bus.ErrStored):
				t.Errorf("a scene of thirty: %v", err)
			}
		})
	}
	all.Wait()
	if stored.Load() != 1 {
		t.Errorf("%d have stored the one scene", stored.Load())
	}

	// A renewal whose answer was lost.
	lease, err := b.Lease(ctx, "partition.1", "us")
	if err != nil {
		t.Fatal(err)
	}
	kv, err := b.JetStream().KeyValue(ctx, bus.OwnersBucket)
	if err != nil {
		t.Fatal(err)
	}
	revision, err := kv.Put(ctx, "partition.1", []byte("us"))
	if err != nil {
		t.Fatal(err)
	}
	keeping, stop := context.WithCancel(ctx)
	kept := make(chan error, 1)
	go func() { kept <- lease.Keep(keeping) }()
	eventually(t, "it goes on from its own revision", func() bool {
		entry, err := kv.Get(ctx, "partition.1")
		return err == nil && entry.Revision() > revision && string(entry.Value()) == "us"
	})
	stop()
	if err := <-kept; err != nil {
		t.Errorf("the lease: %v", err)
	}

	// The leader of the object's bucket is killed as provisioning begins.
	cluster.Leader(t, "KV_deployment").Kill()
	next := small(3)
	next.Limits.ScenesKeep = time.Hour
	if err := b.Provision(ctx, next); err != nil {
		t.Errorf("while a leader is elected: %v", err)
	}
	eventually(t, "the object says so", func() bool { // any replica may be read, also one that is behind
		d, _, err := b.Deployment(ctx)
		return err == nil && d.Limits.ScenesKeep == time.Hour
	})
}

func TestFreshClusterOfThreeReplicas(t *testing.T) {
	t.Parallel()
	cluster := natstest.Start(t, natstest.Options{Servers: 3})
	b := cluster.Connect(t, "test")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := b.Provision(ctx, small(3)); err != nil {
		t.Fatal(err)
	}
	wantReplicas(t, b, 3)
	publishFrames(t, b, flow.Groups{detect}, frame("cam1", 1, "detect"))
	take(t, b, "detect", 1)
}

// A live stream with one copy, whose server does not come back: it is made anew on another, and lossless ones are left alone.
func TestLiveStreamOfALostServerIsMadeAnew(t *testing.T) {
	t.Parallel()
	cluster := natstest.Start(t, natstest.Options{Servers: 3})
	b := cluster.Connect(t, "test")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	d := small(3)
	d.Limits.LiveReplicas, d.Limits.LiveStorage = 1, flow.LiveInMemory
	if err := b.Provision(ctx, d); err != nil {
		t.Fatal(err)
	}
	publishFrames(t, b, flow.Groups{detect}, frame("cam1", 1, "detect"))
	gone := cluster.Leader(t, "FRAMES_LIVE")
	gone.Kill()
	repairs := b.NewRepairs()
	live := frame("cam1", 1, "detect")
	live.Mode = flow.ModeLive
	var last error
	for {
		changes, err := repairs.Round(ctx, d)
		for _, change := range changes {
			if strings.Contains(change.Text, "LOSSLESS") || strings.Contains(change.Text, "KV_") {
				t.Errorf("it changes %s", change.Text)
			}
		}
		last = err
		if err == nil {
			break
		}
		if !clock.Sleep(ctx, time.Second) {
			t.Fatalf("still not mended: %v", last)
		}
	}
	if now := cluster.Leader(t, "FRAMES_LIVE"); now == gone {
		t.Errorf("the stream is on %s, which was killed", now.Name())
	}
	if err := repeat(t, func(ctx context.Context) error { return b.PublishFrame(ctx, flow.Groups{detect}, live) }); err != nil {
		t.Errorf("a live frame: %v", err)
	}
	if got := take(t, b, "detect", 1); got[0] != "cam1/run1/1" {
		t.Errorf("the lossless frame is %v", got)
	}
}
