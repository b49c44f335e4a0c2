package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
)

// chosen is a stream's config without what the server fills in of its own.
func chosen(c jetstream.StreamConfig) jetstream.StreamConfig {
	c.Metadata = nil
	return c
}

func TestStreamSettings(t *testing.T) {
	b, _ := start(t, t.TempDir())
	limits := flow.Limits{Replicas: 1, LiveReplicas: 1, PositionsKeep: 24 * time.Hour, LiveFrameBytes: 512 << 20, LiveResultBytes: 256 << 20, LiveStorage: flow.LiveInFiles, ScenesKeep: 7 * time.Minute, GuardBytes: 123 << 20}
	provision(t, b, flow.DefaultGroups(), limits)

	bounded := jetstream.StreamConfig{
		Storage: jetstream.FileStorage, Replicas: 1, Retention: jetstream.InterestPolicy, Discard: jetstream.DiscardNew,
		MaxBytes: 123 << 20, MaxMsgSize: 4<<20 - 64<<10, Duplicates: 2 * time.Minute,
		MaxAge: 0, MaxMsgs: -1, MaxMsgsPerSubject: -1, MaxConsumers: -1, AllowDirect: false,
	}
	frames, scenes, detect, depth := bounded, bounded, bounded, bounded
	frames.Name, frames.Subjects = "FRAMES_LOSSLESS", []string{"frames.lossless.>"}
	frames.RePublish = &jetstream.RePublish{Source: "frames.lossless.>", Destination: "accepted.lossless.>"}
	detect.Name, detect.Subjects = "RESULTS_DETECT_LOSSLESS", []string{"results.detect.lossless.>"}
	depth.Name, depth.Subjects = "RESULTS_DEPTH_LOSSLESS", []string{"results.depth.lossless.>"}
	scenes.Name, scenes.Subjects = "SCENES_LOSSLESS", []string{"scenes.lossless.>"}
	scenes.Retention, scenes.Discard = jetstream.LimitsPolicy, jetstream.DiscardOld
	scenes.MaxMsgsPerSubject, scenes.MaxAge = 1, 7*time.Minute
	live := bounded
	live.MaxAge = 30 * time.Second
	liveFrames, liveScenes, liveDetect, liveDepth := live, live, live, live
	liveFrames.Name, liveFrames.Subjects = "FRAMES_LIVE", []string{"frames.live.>"}
	liveFrames.RePublish = &jetstream.RePublish{Source: "frames.live.>", Destination: "accepted.live.>"}
	liveFrames.MaxBytes, liveFrames.MaxMsgs, liveFrames.Duplicates = 512<<20, 4096, time.Second
	for group, results := range map[string]*jetstream.StreamConfig{"detect": &liveDetect, "depth": &liveDepth} {
		results.Name, results.Subjects = "RESULTS_"+strings.ToUpper(group)+"_LIVE", []string{"results." + group + ".live.>"}
		results.Discard, results.MaxBytes, results.Duplicates = jetstream.DiscardOld, 256<<20, 2*time.Second
	}
	liveScenes.Name, liveScenes.Subjects = "SCENES_LIVE", []string{"scenes.live.>"}
	liveScenes.Retention, liveScenes.Discard = jetstream.LimitsPolicy, jetstream.DiscardOld
	liveScenes.MaxMsgsPerSubject, liveScenes.MaxBytes, liveScenes.Duplicates = 1, 256<<20, 2*time.Second
	for _, want := range []jetstream.StreamConfig{frames, scenes, detect, depth, liveFrames, liveScenes, liveDetect, liveDepth} {
		stream, err := b.JetStream().Stream(t.Context(), want.Name)
		if err != nil {
			t.Errorf("stream %s: %v", want.Name, err)
			continue
		}
		if diff := cmp.Diff(want, chosen(stream.CachedInfo().Config), cmp.AllowUnexported(jetstream.StreamConfig{})); diff != "" {
			t.Errorf("stream %s is set otherwise (-want +got):\n%s", want.Name, diff)
		}
	}
}

func TestConsumerSettings(t *testing.T) {
	b := provisioned(t)
	filters := map[string]map[string]string{
		"FRAMES_LOSSLESS": {"detect": "frames.lossless.detect.>", "depth": "frames.lossless.*.depth.>"},
		"FRAMES_LIVE":     {"detect": "frames.live.detect.>", "depth": "frames.live.*.depth.>"},
	}
	for _, group := range []string{"detect", "depth"} {
		for _, mode := range []string{"lossless", "live"} {
			fuse := map[string]string{}
			for p := range flow.DefaultPartitions {
				fuse[fmt.Sprint("FUSE_", p)] = fmt.Sprintf("results.%s.%s.%d.>", group, mode, p)
			}
			filters["RESULTS_"+strings.ToUpper(group)+"_"+strings.ToUpper(mode)] = fuse
		}
	}
	for stream, consumers := range filters {
		for name, filter := range consumers {
			c, err := b.JetStream().Consumer(t.Context(), stream, name)
			if err != nil {
				t.Errorf("consumer %s of %s: %v", name, stream, err)
				continue
			}
			got := c.CachedInfo().Config
			if got.Durable != name || got.FilterSubject != filter || got.AckPolicy != jetstream.AckExplicitPolicy ||
				got.AckWait != 3*time.Second || got.MaxDeliver != -1 || got.MaxAckPending != -1 ||
				got.DeliverPolicy != jetstream.DeliverAllPolicy || got.InactiveThreshold != 0 || len(got.BackOff) != 0 || got.MemoryStorage {
				t.Errorf("consumer %s of %s is set otherwise: %+v", name, stream, got)
			}
		}
	}
}

func TestProvisionAgainChangesNothing(t *testing.T) {
	b := provisioned(t)
	groups := flow.DefaultGroups()
	publishFrames(t, b, groups, frame("cam1", 1, "detect", "depth"), frame("cam1", 2, "detect", "depth"))
	take(t, b, "detect", 1)
	if err := b.SetPosition(t.Context(), "cam1", "run1", flow.Position{Seq: 5}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		provision(t, b, groups, flow.DefaultLimits())
	}
	if n := stored(t, b, "FRAMES_LOSSLESS"); n != 2 {
		t.Errorf("%d frames are left, want 2", n)
	}
	wantWaiting(t, b, "FRAMES_LOSSLESS", "detect", 1)
	wantWaiting(t, b, "FRAMES_LOSSLESS", "depth", 2)
	if seq, _, err := b.Position(t.Context(), "cam1", "run1"); err != nil || seq.Seq != 5 {
		t.Errorf("position is %+v, %v; want 5", seq, err)
	}
	if got := deployed(t, b).Groups; !slices.Equal(got, groups) {
		t.Errorf("groups are %v, want %v", got, groups)
	}
}

func TestLimitsMayChange(t *testing.T) {
	b := provisioned(t)
	publishScenes(t, b, scene("cam1", "run1", 1))
	provision(t, b, flow.DefaultGroups(), flow.Limits{Replicas: 1, LiveReplicas: 1, PositionsKeep: 24 * time.Hour, LiveFrameBytes: 512 << 20, LiveResultBytes: 256 << 20, LiveStorage: flow.LiveInFiles, ScenesKeep: time.Minute, GuardBytes: 1 << 30})
	s, err := b.JetStream().Stream(t.Context(), "SCENES_LOSSLESS")
	if err != nil {
		t.Fatal(err)
	}
	info := s.CachedInfo()
	if info.Config.MaxAge != time.Minute || info.Config.MaxBytes != 1<<30 || info.State.Msgs != 1 {
		t.Errorf("scenes are kept %v, in %d bytes, %d are stored; want 1m, 1 GiB and 1", info.Config.MaxAge, info.Config.MaxBytes, info.State.Msgs)
	}
}

// Live streams are made anew where they are asked for; lossless ones stay.
func TestLiveStreamsMoveToMemory(t *testing.T) {
	b := provisioned(t)
	groups := flow.DefaultGroups()
	live := frame("cam1", 1, "detect")
	live.Mode = flow.ModeLive
	publishFrames(t, b, groups, live, frame("cam1", 1, "detect"))
	limits := flow.DefaultLimits()
	limits.LiveStorage = flow.LiveInMemory
	for range 2 {
		provision(t, b, groups, limits)
		for name, want := range map[string]jetstream.StorageType{
			"FRAMES_LIVE": jetstream.MemoryStorage, "RESULTS_DETECT_LIVE": jetstream.MemoryStorage, "SCENES_LIVE": jetstream.MemoryStorage,
			"FRAMES_LOSSLESS": jetstream.FileStorage, "RESULTS_DETECT_LOSSLESS": jetstream.FileStorage, "SCENES_LOSSLESS": jetstream.FileStorage,
		} {
			s, err := b.JetStream().Stream(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.CachedInfo().Config.Storage; got != want {
				t.Errorf("%s is stored in %v, want %v", name, got, want)
			}
		}
	}
	if n := stored(t, b, "FRAMES_LOSSLESS"); n != 1 {
		t.Errorf("%d lossless frames are left, want 1", n)
	}
	live.Seq = 2
	publishFrames(t, b, groups, live)
	limits.LiveStorage = "" // by somebody else, while services run, who does not say where
	provision(t, b, groups, limits)
	wantWaiting(t, b, "FRAMES_LIVE", "detect", 1)
	provision(t, b, groups, flow.DefaultLimits())
	if s, err := b.JetStream().Stream(t.Context(), "FRAMES_LIVE"); err != nil || s.CachedInfo().Config.Storage != jetstream.FileStorage {
		t.Errorf("asked to be in files, FRAMES_LIVE is not: %v", err)
	}
}

// Frames that were stored otherwise by somebody are not thrown away.
func TestLosslessStreamsStayWhereTheyAre(t *testing.T) {
	b, _ := start(t, t.TempDir())
	if _, err := b.JetStream().CreateStream(t.Context(), jetstream.StreamConfig{Name: "FRAMES_LOSSLESS", Subjects: []string{"frames.lossless.>"}, Storage: jetstream.MemoryStorage}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.JetStream().Publish(t.Context(), "frames.lossless.detect._.cam1", nil); err != nil {
		t.Fatal(err)
	}
	if err := b.Provision(t.Context(), flow.DefaultDeployment().With(flow.DefaultGroups())); err == nil || !strings.Contains(err.Error(), "FRAMES_LOSSLESS") {
		t.Errorf("%v, want an error that names the stream", err)
	}
	if n := stored(t, b, "FRAMES_LOSSLESS"); n != 1 {
		t.Errorf("%d frames are left, want 1", n)
	}
}

// As many groups as there may be have room in the embedded server's memory.
func TestLiveStreamsOfAllGroupsFitIntoMemory(t *testing.T) {
	b, _ := start(t, t.TempDir())
	var groups flow.Groups
	for slot := 1; slot <= flow.MaxGroups; slot++ {
		groups = append(groups, flow.Group{Name: fmt.Sprintf("group%d", slot), Slot: slot})
	}
	limits := flow.DefaultLimits()
	limits.LiveStorage, limits.GuardBytes = flow.LiveInMemory, 64<<20
	provision(t, b, groups, limits)
}

func TestGroupTurnedOffFreesItsFrames(t *testing.T) {
	b := provisioned(t)
	groups := flow.DefaultGroups()
	publishFrames(t, b, groups, frame("cam1", 1, "detect", "depth"), frame("cam1", 2, "depth"))
	take(t, b, "detect", 1)
	off := flow.Groups{groups[0], {Name: "depth", Slot: 2, Off: true}}
	provision(t, b, off, flow.DefaultLimits())
	if _, err := b.JetStream().Consumer(t.Context(), "FRAMES_LOSSLESS", "depth"); !errors.Is(err, jetstream.ErrConsumerNotFound) {
		t.Errorf("consumer of the group that is off: %v, want none", err)
	}
	eventually(t, "the frames that waited for the group are freed", func() bool { return stored(t, b, "FRAMES_LOSSLESS") == 0 })
	if _, err := b.TakeFrames(t.Context(), "depth", lossless, 1); !errors.Is(err, bus.ErrNotProvisioned) {
		t.Errorf("taking its frames: %v, want ErrNotProvisioned", err)
	}
	if got := deployed(t, b).Groups; !slices.Equal(got, off) {
		t.Errorf("groups are %v, want %v", got, off)
	}
	provision(t, b, off, flow.DefaultLimits()) // off twice is off
	publishFrames(t, b, off, frame("cam1", 3, "detect"))
	take(t, b, "detect", 1)
	eventually(t, "a frame leaves when the group that is on has acked it", func() bool { return stored(t, b, "FRAMES_LOSSLESS") == 0 })

	provision(t, b, groups, flow.DefaultLimits()) // and on again
	publishFrames(t, b, groups, frame("cam1", 4, "detect", "depth"))
	if got := take(t, b, "depth", 1); got[0] != "cam1/run1/4" {
		t.Errorf("on again it gets %s, want frame 4", got)
	}
}

func TestGroupAppendedLeavesTheOthersAlone(t *testing.T) {
	b := provisioned(t)
	old := flow.DefaultGroups()
	grown := append(flow.DefaultGroups(), flow.Group{Name: "pose", Slot: 3})
	publishFrames(t, b, old, frame("cam1", 1, "detect", "depth"))
	provision(t, b, grown, flow.DefaultLimits())
	// A producer that has not heard of the new group yet publishes beside one that has.
	publishFrames(t, b, old, frame("cam1", 2, "detect", "depth"))
	publishFrames(t, b, grown, frame("pose", 3, "detect", "depth", "pose"))
	publishFrames(t, b, old, frame("pose", 4, "detect"))
	for group, want := range map[string][]string{
		"detect": {"cam1/run1/1", "cam1/run1/2", "pose/run1/3", "pose/run1/4"},
		"depth":  {"cam1/run1/1", "cam1/run1/2", "pose/run1/3"},
		"pose":   {"pose/run1/3"},
	} {
		wantWaiting(t, b, "FRAMES_LOSSLESS", group, len(want))
		if got := take(t, b, group, len(want)); !slices.Equal(got, want) {
			t.Errorf("%s got %v, want %v", group, got, want)
		}
	}
	eventually(t, "all groups have acked and nothing is left", func() bool { return stored(t, b, "FRAMES_LOSSLESS") == 0 })
	if err := b.PublishResult(t.Context(), result("pose", "pose", 3)); err != nil {
		t.Errorf("the new group's result is not taken: %v", err)
	}
}

func TestProvisionRefusesBadGroups(t *testing.T) {
	b, _ := start(t, t.TempDir())
	for _, groups := range []flow.Groups{nil, {{Name: "detect", Slot: 2}}} {
		if err := b.Provision(t.Context(), flow.DefaultDeployment().With(groups)); !errors.Is(err, flow.ErrGroups) {
			t.Errorf("provision %v: %v, want ErrGroups", groups, err)
		}
	}
	if _, _, err := b.Deployment(t.Context()); !errors.Is(err, bus.ErrNotProvisioned) {
		t.Errorf("groups after refused provisioning: %v, want ErrNotProvisioned", err)
	}
}

func TestNothingWorksBeforeProvision(t *testing.T) {
	b, _ := start(t, t.TempDir())
	calls := map[string]func(context.Context) error{
		"Deployment": func(ctx context.Context) error { _, _, err := b.Deployment(ctx); return err },
		"PublishFrame": func(ctx context.Context) error {
			return b.PublishFrame(ctx, flow.DefaultGroups(), frame("cam1", 1, "detect"))
		},
		"PublishResult": func(ctx context.Context) error { return b.PublishResult(ctx, result("detect", "cam1", 1)) },
		"PublishScene":  func(ctx context.Context) error { return b.PublishScene(ctx, scene("cam1", "run1", 1)) },
		"TakeFrames":    func(ctx context.Context) error { return opened(b.TakeFrames(ctx, "detect", lossless, 1)) },
		"TakeResults":   func(ctx context.Context) error { return opened(b.TakeResults(ctx, "detect", lossless, 0, 1)) },
		"SceneOutcome": func(ctx context.Context) error {
			_, err := b.SceneOutcome(ctx, 0, flow.FrameID{Source: "cam1", Session: "run1", Seq: 1})
			return err
		},
		"LastScene":   func(ctx context.Context) error { _, err := b.LastScene(ctx, "cam1", ""); return err },
		"ReadScenes":  func(ctx context.Context) error { return opened(b.ReadScenes(ctx)) },
		"Position":    func(ctx context.Context) error { _, _, err := b.Position(ctx, "cam1", "run1"); return err },
		"SetPosition": func(ctx context.Context) error { return b.SetPosition(ctx, "cam1", "run1", flow.Position{Seq: 1}) },
		"Sessions":    func(ctx context.Context) error { _, err := b.Sessions(ctx, "cam1"); return err },
	}
	for name, call := range calls {
		if err := call(t.Context()); !errors.Is(err, bus.ErrNotProvisioned) {
			t.Errorf("%s before Provision: %v, want ErrNotProvisioned", name, err)
		}
	}
	provision(t, b, flow.DefaultGroups(), flow.DefaultLimits())
	for name, call := range calls { // what was looked up in vain is looked up again
		if err := call(t.Context()); err != nil && !errors.Is(err, bus.ErrNotFound) && !errors.Is(err, bus.ErrStored) {
			t.Errorf("%s after Provision: %v", name, err)
		}
	}
}

// opened ends an iterator that is not needed.
func opened(messages bus.Messages, err error) error {
	if err == nil {
		messages.Stop()
	}
	return err
}

// The buckets are what nats.go takes for one, they keep no consumers, and what is written in them goes with its age.
func TestBucketSettings(t *testing.T) {
	t.Parallel()
	b, _ := start(t, t.TempDir())
	limits := flow.DefaultLimits()
	limits.PositionsKeep = 48 * time.Hour
	provision(t, b, flow.DefaultGroups(), limits)
	for bucket, want := range map[string]struct {
		keep  time.Duration
		bytes int64
	}{
		bus.DeploymentBucket: {0, 1 << 20}, bus.PositionsBucket: {48 * time.Hour, 64 << 20}, bus.OwnersBucket: {3 * time.Second, 1 << 20},
		bus.AttemptsBucket: {10 * time.Minute, 4 << 20}, bus.SourcesBucket: {0, 2 << 20},
	} {
		kv, err := b.JetStream().KeyValue(t.Context(), bucket)
		if err != nil {
			t.Fatal(err)
		}
		status, err := kv.Status(t.Context())
		if err != nil || status.TTL() != want.keep || status.History() != 1 {
			t.Errorf("bucket %s is kept %v, %v; want %v", bucket, status.TTL(), err, want.keep)
		}
		stream, err := b.JetStream().Stream(t.Context(), "KV_"+bucket)
		if err != nil || stream.CachedInfo().Config.MaxBytes != want.bytes {
			t.Errorf("bucket %s: %v, want %d bytes", bucket, err, want.bytes)
		}
		if ttl := stream.CachedInfo().Config.AllowMsgTTL; ttl != (bucket == bus.AttemptsBucket) {
			t.Errorf("bucket %s lets messages say how long they stay: %v", bucket, ttl)
		}
		// A consumer that somebody makes there does not stay, whatever it is called.
		consumer, err := stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "stays"})
		if err != nil {
			t.Fatal(err)
		}
		if kept := consumer.CachedInfo().Config.InactiveThreshold; kept != 5*time.Minute {
			t.Errorf("bucket %s keeps a durable consumer %v", bucket, kept)
		}
	}
}
