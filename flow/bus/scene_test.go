package bus_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
)

func TestScenesAreFound(t *testing.T) {
	b := provisioned(t)
	failed := scene("cam1", "run2", 1)
	failed.Outcome, failed.Errors = flow.OutcomeError, map[string]string{"detect": "broken"}
	publishScenes(t, b, scene("cam1", "run1", 1), scene("cam1", "run1", 2), scene("cam10", "run1", 9), failed)

	for text, want := range map[string]flow.Outcome{
		"cam1/run1/1": flow.OutcomeComplete, "cam1/run1/2": flow.OutcomeComplete, "cam1/run2/1": flow.OutcomeError,
		"cam1/run1/3": "", "cam1/run3/1": "", "cam2/run1/1": "", "cam10/run1/1": "",
	} {
		id, err := flow.ParseFrameID(text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := b.SceneOutcome(t.Context(), flow.AnyPartition, id)
		if want == "" && !errors.Is(err, bus.ErrNotFound) || want != "" && (err != nil || got != want) {
			t.Errorf("scene %s: %q, %v; want %q (none: ErrNotFound)", id, got, err, want)
		}
	}
	for name, test := range map[string]struct{ source, session, want string }{
		"newest of a session":  {"cam1", "run1", "cam1/run1/2"},
		"newest of a source":   {"cam1", "", "cam1/run2/1"},
		"name is a prefix":     {"cam10", "", "cam10/run1/9"},
		"session without any":  {"cam1", "run3", ""},
		"source without any":   {"cam2", "", ""},
		"session of another's": {"cam10", "run2", ""},
	} {
		got, err := b.LastScene(t.Context(), test.source, test.session)
		if test.want == "" {
			if !errors.Is(err, bus.ErrNotFound) {
				t.Errorf("%s: %v, %v; want ErrNotFound", name, got, err)
			}
			continue
		}
		if err != nil || got.ID().String() != test.want {
			t.Errorf("%s: %+v, %v; want %s", name, got, err, test.want)
		}
	}
	if got, err := b.LastScene(t.Context(), "cam1", "run2"); err == nil && cmp.Diff(failed, got) != "" {
		t.Errorf("scene changed on its way (-stored +read):\n%s", cmp.Diff(failed, got))
	}
}

func TestPosition(t *testing.T) {
	b := provisioned(t)
	for seq := range uint64(5) {
		publishScenes(t, b, scene("behind", "run1", seq+1), scene("ahead", "run1", seq+1), scene("alone", "run1", seq+1))
	}
	for source, seq := range map[string]uint64{"behind": 3, "ahead": 9, "aged": 1 << 63} {
		if err := b.SetPosition(t.Context(), source, "run1", flow.Position{Seq: seq}); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name, source, session string
		seq, last             uint64 // last 0: no scene
	}{
		{"entry is behind the scenes", "behind", "run1", 5, 5},
		{"entry is ahead of the scenes", "ahead", "run1", 9, 5},
		{"no entry", "alone", "run1", 5, 5},
		{"no scene is kept", "aged", "run1", 1 << 63, 0},
		{"nothing", "unknown", "run1", 0, 0},
		{"another session", "behind", "run2", 0, 0},
	} {
		position, last, err := b.Position(t.Context(), test.source, test.session)
		if test.seq == 0 && !errors.Is(err, bus.ErrNotFound) || test.seq != 0 && err != nil || position.Seq != test.seq {
			t.Errorf("%s: position %+v, %v; want seq %d (none: ErrNotFound)", test.name, position, err, test.seq)
		}
		if got := last; test.last == 0 && got != nil || test.last != 0 && (got == nil || got.Seq != test.last) {
			t.Errorf("%s: last scene %+v, want seq %d", test.name, got, test.last)
		}
	}
	if err := b.SetPosition(t.Context(), "ahead", "run1", flow.Position{Seq: 10}); err != nil {
		t.Fatal(err)
	}
	if position, _, err := b.Position(t.Context(), "ahead", "run1"); err != nil || position.Seq != 10 {
		t.Errorf("position set again is %+v, %v; want 10", position, err)
	}
}

func TestPositionThatIsNoNumber(t *testing.T) {
	b := provisioned(t)
	kv, err := b.JetStream().KeyValue(t.Context(), bus.PositionsBucket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(t.Context(), flow.PositionKey("cam1", "run1"), "far"); err != nil {
		t.Fatal(err)
	}
	if position, _, err := b.Position(t.Context(), "cam1", "run1"); err == nil || !strings.Contains(err.Error(), "cam1/run1") {
		t.Errorf("position %+v, %v; want an error that names the run", position, err)
	}
}

// A session keeps the partition that it began with, and the record of the version before, a number, means the first one.
func TestPositionKeepsItsPartition(t *testing.T) {
	b := provisioned(t)
	open := func(session string, partition int) flow.Position {
		t.Helper()
		position, err := b.OpenPosition(t.Context(), "foobar", session, partition)
		if err != nil {
			t.Fatal(err)
		}
		return position
	}
	if got := open("run1", 13); got != (flow.Position{Partition: 13}) {
		t.Errorf("a new session begins at %+v", got)
	}
	if err := b.SetPosition(t.Context(), "foobar", "run1", flow.Position{Seq: 4, Partition: 13}); err != nil {
		t.Fatal(err)
	}
	if got := open("run1", 7); got != (flow.Position{Seq: 4, Partition: 13}) {
		t.Errorf("with other partitions it goes on at %+v, want seq 4 in partition 13", got)
	}
	kv, err := b.JetStream().KeyValue(t.Context(), bus.PositionsBucket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(t.Context(), flow.PositionKey("foobar", "run0"), "21"); err != nil {
		t.Fatal(err)
	}
	if got := open("run0", 7); got != (flow.Position{Seq: 21, Partition: flow.FirstPartition("foobar")}) {
		t.Errorf("an older run goes on at %+v, want seq 21 in its first partition", got)
	}
	if err := b.Forget(t.Context(), "foobar", "run0"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Position(t.Context(), "foobar", "run0"); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("a forgotten run: %v, want ErrNotFound", err)
	}
}

func TestRuns(t *testing.T) {
	b := provisioned(t)
	if runs, err := b.RunRecords(t.Context(), ""); err != nil || len(runs) != 0 {
		t.Errorf("runs of an empty bucket: %v, %v", runs, err)
	}
	for _, run := range [][2]string{{"cam1", "run1"}, {"cam1", "run2"}, {"cam2", "run1"}, {"cam1", "run1"}} {
		if err := b.SetPosition(t.Context(), run[0], run[1], flow.Position{Seq: 1}); err != nil {
			t.Fatal(err)
		}
	}
	runs := map[string][]string{}
	for _, source := range []string{"cam1", "cam2"} {
		sessions, err := b.Sessions(t.Context(), source)
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(sessions)
		runs[source] = sessions
	}
	if diff := cmp.Diff(map[string][]string{"cam1": {"run1", "run2"}, "cam2": {"run1"}}, runs); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
}

func TestNewestRuns(t *testing.T) {
	t.Parallel()
	b := provisioned(t)
	if runs, err := b.NewestRuns(t.Context(), time.Hour); err != nil || len(runs) != 0 {
		t.Errorf("runs of an empty bucket: %v, %v", runs, err)
	}
	write := func(runs ...string) {
		t.Helper()
		for _, run := range runs {
			source, session, _ := strings.Cut(run, "/")
			if err := b.SetPosition(t.Context(), source, session, flow.Position{Seq: 1}); err != nil {
				t.Fatal(err)
			}
		}
	}
	write("old/run1")
	const between = 100 * time.Millisecond
	time.Sleep(2 * between) // the server stamps what it stores: there is nothing to wait for
	write("cam1/run1", "cam1/run2", "cam2/run1", "cam1/run1")
	for within, want := range map[time.Duration]string{time.Hour: "cam1/run1 cam2/run1 old/run1 ", between: "cam1/run1 cam2/run1 "} {
		runs, err := b.NewestRuns(t.Context(), within)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, run := range runs {
			got += run.Source + "/" + run.Session + " "
		}
		if got != want {
			t.Errorf("runs within %v: %s, want %s", within, got, want)
		}
	}
}

func TestReadScenesFromTheOldest(t *testing.T) {
	b := provisioned(t)
	var want []string
	for seq := range uint64(50) { // more than are fetched at once
		s := scene(fmt.Sprint("cam", seq%2), "run1", seq/2+1)
		publishScenes(t, b, s)
		want = append(want, s.ID().String())
	}
	for range 2 { // reading takes nothing away
		messages, err := b.ReadScenes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for range want {
			msg, err := messages.Next(jetstream.NextMaxWait(patience))
			if err != nil {
				t.Fatalf("after %d scenes: %v", len(got), err)
			}
			var s flow.Scene
			if err := flow.Decode(msg.Data(), &s); err != nil {
				t.Fatal(err)
			}
			got = append(got, s.ID().String())
		}
		messages.Stop()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("scenes (-published +read):\n%s", diff)
		}
	}
}

func TestDone(t *testing.T) {
	b := provisioned(t)
	got := make(chan flow.Done, 8)
	sub, err := b.SubscribeDone("fuser", "cam1", func(_ string, d flow.Done) { got <- d })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sub.Unsubscribe(); err != nil {
			t.Errorf("unsubscribe: %v", err)
		}
	})
	want := flow.Done{Version: flow.Wire, Session: "run1", Seq: 7, Wait: 5, Work: 9, Outcome: flow.OutcomeComplete}
	later := want
	later.Version = flow.Wire + 1
	for _, data := range []string{"", "hello", "\x81\xa1\x7a\xdd\xff\xff\xff\xff"} {
		if err := b.Conn().Publish(flow.DoneSubject("fuser", "cam1"), []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []struct {
		stage, source string
		done          flow.Done
	}{{"detect", "cam1", want}, {"fuser", "cam2", want}, {"fuser", "cam1", later}, {"fuser", "cam1", want}} {
		if err := b.PublishDone(d.stage, d.source, d.done); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case d := <-got:
		if d != want {
			t.Errorf("first done is %+v, want %+v: no other was for this subscription", d, want)
		}
	case <-time.After(patience):
		t.Fatal("done does not come")
	}
	if len(got) != 0 {
		t.Errorf("%d more came", len(got))
	}
}

func TestAlive(t *testing.T) {
	b, _ := start(t, t.TempDir()) // core NATS: needs no provisioning
	sub, err := b.Conn().SubscribeSync(flow.AliveSubject("*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	large := flow.Alive{Stage: "producer", Instance: "b", Host: strings.Repeat("h", flow.MaxAliveBytes)}
	if err := b.PublishAlive(large); !errors.Is(err, bus.ErrTooLarge) {
		t.Errorf("alive message that nobody may read: %v, want ErrTooLarge", err)
	}
	want := flow.Alive{Stage: "detect", Instance: "a", Host: "edge-1", Model: "yolov8n.onnx", Parallel: 2, Rate: 16.5}
	if err := b.PublishAlive(want); err != nil {
		t.Fatal(err)
	}
	msg, err := sub.NextMsg(patience)
	if err != nil {
		t.Fatalf("alive does not come: %v", err)
	}
	if msg.Subject != flow.AliveSubject("detect", "a") {
		t.Errorf("it came on %s", msg.Subject)
	}
	got, err := flow.ParseAlive(msg.Data)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("alive changed (-sent +received), %v:\n%s", err, diff)
	}
}

// Who was stopped for a while does not set a session back, and two who write at once leave the further position.
func TestPositionNeverGoesBack(t *testing.T) {
	t.Parallel()
	s := remote(t, t.TempDir(), -1)
	connect := func() *bus.Bus {
		b, err := bus.Connect(bus.Options{URL: s.ClientURL(), Role: "fuser"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		return b
	}
	b, other := connect(), connect()
	provision(t, b, flow.DefaultGroups(), flow.DefaultLimits())
	set := func(b *bus.Bus, seq uint64) {
		if err := b.SetPosition(t.Context(), "film", "monday", flow.Position{Seq: seq}); err != nil {
			t.Error(err)
		}
	}
	want := func(seq uint64) {
		t.Helper()
		if p, _, err := b.Position(t.Context(), "film", "monday"); err != nil || p.Seq != seq {
			t.Errorf("position %+v, %v; want %d", p, err, seq)
		}
	}
	set(b, 90)
	set(other, 500)
	set(b, 100) // it knows of 90
	set(other, 100)
	want(500)
	var writing sync.WaitGroup
	for i, b := range []*bus.Bus{b, other} {
		writing.Go(func() {
			for seq := uint64(501); seq <= 700; seq++ {
				if seq%2 == uint64(i) {
					set(b, seq)
				}
			}
		})
	}
	writing.Wait()
	want(700)
	if err := b.Forget(t.Context(), "film", "monday"); err != nil {
		t.Fatal(err)
	}
	set(other, 3) // begun anew
	want(3)
}
