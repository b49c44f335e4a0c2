package fuser_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
)

// neighbours are n sources of the partition of cam1.
func neighbours(n int) (names []string) {
	for i := 0; len(names) < n; i++ {
		name := fmt.Sprint("other", i)
		if flow.Partition(name, flow.DefaultPartitions) == flow.Partition("cam1", flow.DefaultPartitions) {
			names = append(names, name)
		}
	}
	return names
}

// away takes a stream away: it is gone, or, as without a leader, takes messages and never answers. What it returns
// brings it back.
func (b bench) away(t *testing.T, stream, subjects string, silent bool) (back func()) {
	t.Helper()
	if err := b.bus.JetStream().DeleteStream(t.Context(), stream); err != nil {
		t.Fatal(err)
	}
	var sub *nats.Subscription
	if silent {
		var err error
		if sub, err = b.bus.Conn().Subscribe(subjects, func(*nats.Msg) {}); err != nil {
			t.Fatal(err)
		}
		if err := b.bus.Conn().Flush(); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		if sub != nil {
			if err := sub.Unsubscribe(); err != nil {
				t.Fatal(err)
			}
		}
		b.provision(t, flow.DefaultDeployment())
	}
}

var aways = map[string]bool{"gone": false, "silent": true}

// Lossless sources do not wait for the live scenes' stream, be they of one partition.
func TestLiveScenesAwayStopNoSession(t *testing.T) {
	t.Parallel()
	for name, silent := range aways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			defer b.startFuser(t).stop()
			defer b.away(t, "SCENES_LIVE", "scenes.live.>", silent)()
			film := neighbours(1)[0]
			const frames = 100
			for seq := uint64(1); seq <= frames; seq++ {
				b.publish(t, now(t, flow.GroupDetect, seq, flow.GroupDetect))
				for _, group := range plan {
					b.publish(t, result(group, film, seq))
				}
			}
			b.scenes(t, frames)
			b.drained(t)
		})
	}
}

// Cameras do not wait for the lossless scenes' stream, and what waits for it stays in its fuser's hands and is stored in the end.
func TestLosslessScenesAwayStopNoCamera(t *testing.T) {
	t.Parallel()
	for name, silent := range aways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			defer b.startFuser(t).stop()
			film := neighbours(1)[0]
			back := b.away(t, "SCENES_LOSSLESS", "scenes.lossless.>", silent)
			const frames = 40
			for seq := uint64(1); seq <= 3; seq++ {
				for _, group := range plan {
					b.publish(t, result(group, film, seq))
				}
			}
			watch := b.watchLive(t)
			begin, last, shown, lost := time.Now(), time.Now(), 0, 0
			for seq := uint64(1); shown < frames || time.Since(begin) < 4*time.Second; seq++ { // past AckWait
				b.publish(t, now(t, flow.GroupDetect, seq, flow.GroupDetect))
				if watch.shows(seq) {
					last = time.Now()
					shown++
				} else if lost++; time.Since(last) > patience {
					t.Fatalf("no scene after frame %d", seq)
				}
			}
			consumer := fmt.Sprintf("FUSE_%d", flow.Partition(film, flow.DefaultPartitions))
			held, err := b.bus.JetStream().Consumer(t.Context(), "RESULTS_DETECT_LOSSLESS", consumer)
			if err != nil {
				t.Fatal(err)
			}
			if info := held.CachedInfo(); lost == 0 && (info.NumRedelivered != 0 || info.NumAckPending != 3) { // else the partition had no owner for a while
				t.Errorf("%d results are held, %d were delivered again; want 3 and none", info.NumAckPending, info.NumRedelivered)
			}
			back()
			b.scenes(t, 3)
			b.drained(t)
		})
	}
}

// A scene that somebody else has stored is as good, and the session goes on from it.
func TestSessionGoesOnFromTheStoredScene(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	defer b.startFuser(t).stop()
	dones, err := b.bus.Conn().SubscribeSync("done.fuser.cam1")
	if err != nil {
		t.Fatal(err)
	}
	publish := func(seq uint64) {
		t.Helper()
		for _, group := range plan {
			r := result(group, "cam1", seq)
			if group == flow.GroupDepth {
				r.Depth = now(t, group, seq).Depth
			}
			b.publish(t, r)
		}
	}
	publish(1)
	scene := b.scenes(t, 1)[0]
	if _, err := dones.NextMsg(patience); err != nil {
		t.Fatal(err)
	}
	other := *scene
	wide := *scene.Range
	wide.High += 1000
	other.Seq, other.Range, other.Outcome = 2, &wide, flow.OutcomePartial
	if err := b.bus.PublishScene(t.Context(), &other); err != nil {
		t.Fatal(err)
	}
	publish(2)
	publish(3)
	last := b.scenes(t, 3)[2]
	if last.Range.High < wide.High-200 {
		t.Errorf("range %+v after scene 3: it does not go on from %+v, which is stored", *last.Range, wide)
	}
	for _, want := range []flow.Outcome{flow.OutcomePartial, flow.OutcomeComplete} {
		msg, err := dones.NextMsg(patience)
		var done flow.Done
		if err != nil || flow.Decode(msg.Data, &done) != nil || done.Outcome != want {
			t.Errorf("done %+v, %v; want the outcome of the stored scene, %s", done, err, want)
		}
	}
	b.drained(t)
}

// results is how many results of a group are not acked.
func (b bench) results(t *testing.T, stream string) jetstream.StreamState {
	t.Helper()
	s, err := b.bus.JetStream().Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State
}
