package bus_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/natsserver"
)

// Deployments side by side in one account: each has its own frames, results, scenes, positions, leases and object.
func TestPrefixKeepsDeploymentsApart(t *testing.T) {
	t.Parallel()
	server, err := natsserver.Start(t.TempDir(), "127.0.0.1:0", "", quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	type side struct {
		*bus.Bus
		groups   flow.Groups
		deployed *bus.Deployed
		done     chan string
		alive    chan string
	}
	sides := map[string]*side{}
	for i, prefix := range []string{"", "blue", "green-2"} {
		b, err := bus.Connect(bus.Options{URL: server.URL(), Role: "test", Prefix: prefix, Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		d := deployment([]flow.Group{detect, depth, pose}[:1+i]...)
		d.Partitions, d.Limits.GuardBytes, d.Limits.LiveFrameBytes, d.Limits.LiveResultBytes = 2, 64<<20, 32<<20, 32<<20
		if err := b.Provision(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		if changes, err := b.Apply(t.Context(), d); err != nil || len(changes) != 0 {
			t.Errorf("%q: provisioned again it changes %v, %v", prefix, changes, err)
		}
		s := &side{Bus: b, groups: d.Groups, done: make(chan string, 9), alive: make(chan string, 9)}
		if s.deployed, err = b.Watch(t.Context(), quiet); err != nil || len(s.deployed.Groups()) != 1+i {
			t.Fatalf("%q: %v", prefix, err)
		}
		if _, err := b.SubscribeDone("*", "cam1", func(stage string, d flow.Done) { s.done <- fmt.Sprint(stage, d.Seq) }); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Subscribe(flow.AliveSubject("*", "*"), func(msg *nats.Msg) { s.alive <- msg.Subject }); err != nil {
			t.Fatal(err)
		}
		if err := b.Conn().Flush(); err != nil {
			t.Fatal(err)
		}
		sides[prefix] = s
	}
	for prefix, s := range sides {
		own := uint64(1 + len(prefix))
		for seq := range own { // as many as its prefix has letters, and one
			publishFrames(t, s.Bus, s.groups, frame("cam1", seq+1, "detect"))
			publishScenes(t, s.Bus, scene("cam1", "run1", seq+1))
		}
		if err := s.PublishResult(t.Context(), result("detect", "cam1", own)); err != nil {
			t.Fatal(err)
		}
		if err := s.SetPosition(t.Context(), "cam1", "run1", flow.Position{Seq: own}); err != nil {
			t.Fatal(err)
		}
		if err := s.SetAttempts(t.Context(), "detect", flow.FrameID{Source: "cam1", Session: "run1", Seq: 1}, flow.Attempts{Tries: int(own)}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Lease(t.Context(), "partition.0", prefix+"!"); err != nil {
			t.Errorf("%q: the lease of another: %v", prefix, err)
		}
		if err := s.PublishDone("fuser", "cam1", flow.Done{Version: flow.Wire, Session: "run1", Seq: own}); err != nil {
			t.Fatal(err)
		}
		if err := s.PublishAlive(flow.Alive{Stage: "fuser", Instance: fmt.Sprint("i", own)}); err != nil {
			t.Fatal(err)
		}
	}
	for prefix, s := range sides {
		own := 1 + len(prefix)
		if got := take(t, s.Bus, "detect", own); got[own-1] != fmt.Sprint("cam1/run1/", own) {
			t.Errorf("%q: frames %v", prefix, got)
		}
		messages, err := s.TakeResults(t.Context(), "detect", lossless, result("detect", "cam1", 1).Place(), 1)
		if err != nil {
			t.Fatal(err)
		}
		var r flow.Result
		if msg, err := messages.Next(jetstream.NextMaxWait(patience)); err != nil || flow.Decode(msg.Data(), &r) != nil || r.Seq != uint64(own) {
			t.Errorf("%q: result %d, %v", prefix, r.Seq, err)
		}
		messages.Stop()
		if position, last, err := s.Position(t.Context(), "cam1", "run1"); err != nil || position.Seq != uint64(own) || last.Seq != uint64(own) {
			t.Errorf("%q: position %+v, last scene %+v, %v", prefix, position, last, err)
		}
		if runs, err := s.Sessions(t.Context(), "cam1"); err != nil || !slices.Equal(runs, []string{"run1"}) {
			t.Errorf("%q: runs %v, %v", prefix, runs, err)
		}
		if got, want := <-s.done, fmt.Sprint("fuser", own); got != want {
			t.Errorf("%q: done by %s, want %s", prefix, got, want)
		}
		if got, want := <-s.alive, fmt.Sprint("alive.fuser.i", own); got != want {
			t.Errorf("%q: alive is %s, want %s", prefix, got, want)
		}
		if err := s.Conn().Flush(); err != nil || len(s.done) != 0 || len(s.alive) != 0 {
			t.Errorf("%q: it hears of others too: %d, %d, %v", prefix, len(s.done), len(s.alive), err)
		}
		if a, err := s.Attempts(t.Context(), "detect", flow.FrameID{Source: "cam1", Session: "run1", Seq: 1}); a.Tries != own || err != nil {
			t.Errorf("%q: %+v, %v", prefix, a, err)
		}
		if err := s.SetAttempts(t.Context(), "detect", flow.FrameID{Source: "cam1", Session: "run1", Seq: 1}, flow.Attempts{}); err != nil {
			t.Fatal(err)
		}
		if a, err := s.Attempts(t.Context(), "detect", flow.FrameID{Source: "cam1", Session: "run1", Seq: 1}); a.Tries != 0 || err != nil {
			t.Errorf("%q: %+v is left, %v", prefix, a, err)
		}
		d, _, err := s.Deployment(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		streams, err := s.Streams(t.Context(), d)
		positions := slices.ContainsFunc(streams, func(one bus.StreamState) bool { return one.Name == "KV_spatialflow" && one.State.Msgs > 0 })
		if want := 9 + 2*len(s.groups); len(streams) != want || !positions || err != nil {
			t.Errorf("%q: its streams are %v, %v, want %d", prefix, streams, err, want)
		}
		if err := s.Forget(t.Context(), "cam1", "run1"); err != nil {
			t.Fatal(err)
		}
	}
	blue, err := sides["blue"].JetStream().Stream(t.Context(), "blue_FRAMES_LIVE")
	if err != nil || !slices.Equal(blue.CachedInfo().Config.Subjects, []string{"blue.frames.live.>"}) || blue.CachedInfo().Config.RePublish.Destination != "blue.accepted.live.>" {
		t.Errorf("the stream is %+v, %v", blue.CachedInfo().Config, err)
	}
	if _, err := bus.Connect(bus.Options{URL: server.URL(), Role: "test", Prefix: "frames"}); !errors.Is(err, flow.ErrName) {
		t.Errorf("prefix frames: %v, want ErrName", err)
	}
}
