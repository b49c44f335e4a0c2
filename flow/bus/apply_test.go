package bus_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/natsserver/natstest"
)

var (
	detect = flow.Group{Name: "detect", Slot: 1}
	depth  = flow.Group{Name: "depth", Slot: 2}
	pose   = flow.Group{Name: "pose", Slot: 3, Need: flow.NeedOptional}
)

func deployment(groups ...flow.Group) flow.Deployment { return flow.DefaultDeployment().With(groups) }

func deployed(t *testing.T, b *bus.Bus) flow.Deployment {
	t.Helper()
	d, _, err := b.Deployment(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// consumers lists those of a stream; nil when there is no such stream.
func consumers(t *testing.T, b *bus.Bus, stream string) (names []string) {
	t.Helper()
	s, err := b.JetStream().Stream(t.Context(), stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	list := s.ConsumerNames(t.Context())
	for name := range list.Name() {
		names = append(names, name)
	}
	if list.Err() != nil {
		t.Fatal(list.Err())
	}
	slices.Sort(names)
	return names
}

// The list of a rollback: it knows two groups of three.
func TestGroupThatIsNotNamedIsOff(t *testing.T) {
	t.Parallel()
	b, _ := start(t, t.TempDir())
	three, two := deployment(detect, depth, pose), deployment(detect, depth)
	for _, d := range []flow.Deployment{three, two, two, three} {
		if err := b.Provision(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		now, named := deployed(t, b), len(d.Groups) == 3
		if kept, ok := now.Groups.Find("pose"); !ok || kept.Slot != 3 || kept.Off == named {
			t.Errorf("asked for %s, pose is %+v", d.Groups.Encode(), kept)
		}
		for _, stream := range []string{"FRAMES_LOSSLESS", "FRAMES_LIVE"} {
			if got := consumers(t, b, stream); slices.Contains(got, "pose") != named {
				t.Errorf("asked for %s, %s has the consumers %v", d.Groups.Encode(), stream, got)
			}
		}
	}
}

func TestProvisionRefusesAnotherSlot(t *testing.T) {
	t.Parallel()
	b := provisioned(t)
	before := deployed(t, b)
	for _, groups := range []flow.Groups{
		{{Name: "depth", Slot: 1}},
		{detect, {Name: "pose", Slot: 2}},
		{detect, {Name: "depth", Slot: 2, Task: flow.TaskOther}},
	} {
		if err := b.Provision(t.Context(), deployment(groups...)); !errors.Is(err, flow.ErrDeployment) {
			t.Errorf("%s: %v, want ErrDeployment", groups.Encode(), err)
		}
	}
	if now := deployed(t, b); string(now.Encode()) != string(before.Encode()) || slices.Contains(consumers(t, b, "FRAMES_LIVE"), "pose") {
		t.Errorf("refused, it is %s", now.Encode())
	}
}

func TestPartitionsOnlyGrow(t *testing.T) {
	t.Parallel()
	b, _ := start(t, t.TempDir())
	for _, step := range []struct{ asked, want int }{{4, 4}, {16, 16}, {4, 16}} {
		d := deployment(detect)
		d.Partitions = step.asked
		if err := b.Provision(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		if now := deployed(t, b); now.Partitions != step.want {
			t.Errorf("%d partitions asked for, %d are there, want %d", step.asked, now.Partitions, step.want)
		}
		if got := consumers(t, b, "RESULTS_DETECT_LIVE"); len(got) != step.want {
			t.Errorf("%d partitions asked for, consumers %v", step.asked, got)
		}
	}
}

// Several who ask for different things at the same moment: what each relies on is there in the end.
func TestProvisionersAtOnce(t *testing.T) {
	t.Parallel()
	// A process of its own: nats-server 2.15.2 makes a consumer while it reads settings that an update of the stream writes, which
	// the race detector would tell of here.
	server := natstest.Start(t, natstest.Options{Servers: 1})
	b := server.Connect(t, "test")
	asked := make([]flow.Deployment, 6)
	for i := range asked {
		asked[i] = deployment(detect)
		asked[i].Partitions = 1 + i
		if i%2 == 1 {
			asked[i].Groups = flow.Groups{detect, depth, pose}
		}
	}
	var all sync.WaitGroup
	for _, d := range asked {
		all.Go(func() {
			if err := b.Provision(t.Context(), d); err != nil {
				t.Errorf("%d partitions, %s: %v", d.Partitions, d.Groups.Encode(), err)
			}
		})
	}
	all.Wait()
	now := deployed(t, b)
	if now.Partitions != len(asked) || len(now.Groups) != 3 || now.Groups[2].Slot != 3 {
		t.Errorf("together they made %s", now.Encode())
	}
	for _, group := range now.Groups {
		if got := consumers(t, b, "RESULTS_"+strings.ToUpper(group.Name)+"_LOSSLESS"); len(got) != len(asked) {
			t.Errorf("results of %s have the consumers %v", group.Name, got)
		}
	}
	if err := b.Provision(t.Context(), deployment(detect, depth, pose)); err != nil {
		t.Fatal(err)
	}
	if got, want := consumers(t, b, "FRAMES_LIVE"), []string{"depth", "detect", "pose"}; !slices.Equal(got, want) {
		t.Errorf("consumers of frames are %v, want %v", got, want)
	}
}

// What the version before wrote: a list of groups, in the bucket of the positions.
func TestProvisionOverTheVersionBefore(t *testing.T) {
	t.Parallel()
	b, _ := start(t, t.TempDir())
	kv, err := b.JetStream().CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: bus.PositionsBucket, MaxBytes: 64 << 20, Replicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	groups := flow.Groups{{Name: "pose", Slot: 1}, {Name: "detect", Slot: 2}, {Name: "depth", Slot: 3, Off: true}}
	for key, value := range map[string]string{"groups": string(groups.Encode()), flow.PositionKey("cam1", "run1"): "7"} {
		if _, err := kv.Put(t.Context(), key, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Provision(t.Context(), deployment(detect, depth)); !errors.Is(err, flow.ErrDeployment) {
		t.Errorf("slots move: %v, want ErrDeployment", err)
	}
	if err := b.Provision(t.Context(), deployment(groups...)); err != nil {
		t.Fatal(err)
	}
	now := deployed(t, b)
	if now.Wire != 1 || now.Partitions != flow.DefaultPartitions || string(now.Groups.Encode()) != string(groups.Encode()) {
		t.Errorf("it became %s", now.Encode())
	}
	if position, _, err := b.Position(t.Context(), "cam1", "run1"); err != nil || position.Seq != 7 {
		t.Errorf("the position is %+v, %v", position, err)
	}
	for range 2 {
		if err := b.RaiseWire(t.Context(), flow.Wire); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.RaiseWire(t.Context(), 1); err != nil || deployed(t, b).Wire != flow.Wire {
		t.Errorf("raised, the messages are of version %d, %v", deployed(t, b).Wire, err)
	}
	if err := b.Provision(t.Context(), now); err != nil || deployed(t, b).Wire != flow.Wire {
		t.Errorf("provisioned again, the messages are of version %d, %v", deployed(t, b).Wire, err)
	}
}

func TestRetiredGroupGoesOnceItIsEmpty(t *testing.T) {
	t.Parallel()
	b, _ := start(t, t.TempDir())
	ask := func(groups ...flow.Group) {
		t.Helper()
		if err := b.Provision(t.Context(), deployment(groups...)); err != nil {
			t.Fatal(err)
		}
	}
	ask(detect, depth)
	publishFrames(t, b, flow.DefaultGroups(), frame("cam1", 1, "detect", "depth"))
	answer := result("depth", "cam1", 1)
	if err := b.PublishResult(t.Context(), answer); err != nil {
		t.Fatal(err)
	}
	retired := flow.Group{Name: "depth", Slot: 2, Retired: true}
	for range 3 {
		ask(detect, retired)
		if got := consumers(t, b, "FRAMES_LOSSLESS"); !slices.Equal(got, []string{"detect"}) {
			t.Errorf("consumers of frames are %v", got)
		}
		if consumers(t, b, "RESULTS_DEPTH_LOSSLESS") == nil {
			t.Fatal("its results are gone, and nobody has taken them")
		}
	}
	if consumers(t, b, "RESULTS_DEPTH_LIVE") != nil {
		t.Error("the stream of its live results, which is empty, is still there")
	}
	messages, err := b.TakeResults(t.Context(), "depth", lossless, answer.Place(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Stop()
	msg, err := messages.Next(jetstream.NextMaxWait(patience))
	if err != nil {
		t.Fatal(err)
	}
	if err := msg.DoubleAck(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing is left of it", func() bool {
		ask(detect, retired)
		return consumers(t, b, "RESULTS_DEPTH_LOSSLESS") == nil
	})
	ask(detect) // not named, it is what it was
	if kept, _ := deployed(t, b).Groups.Find("depth"); !kept.Retired || consumers(t, b, "RESULTS_DEPTH_LIVE") != nil {
		t.Errorf("not named, it is %+v", kept)
	}
	ask(detect, depth)
	publishFrames(t, b, flow.DefaultGroups(), frame("cam1", 2, "detect", "depth"))
	take(t, b, "depth", 1)
}

func TestDifferenceChangesNothing(t *testing.T) {
	t.Parallel()
	b, _ := start(t, t.TempDir())
	names := func() (names []string) {
		list := b.JetStream().StreamNames(t.Context())
		for name := range list.Name() {
			names = append(names, fmt.Sprint(name, consumers(t, b, name)))
		}
		slices.Sort(names)
		return names
	}
	lines := func(changes []bus.Change, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		var text []string
		for _, change := range changes {
			text = append(text, change.Text)
		}
		return strings.Join(text, "\n")
	}
	first := lines(b.Difference(t.Context(), deployment(detect)))
	if got := names(); got != nil {
		t.Errorf("it made %v", got)
	}
	if did := lines(b.Apply(t.Context(), deployment(detect))); did != first || !strings.Contains(did, "deployment: new") || !strings.Contains(did, "consumer FUSE_3 of RESULTS_DETECT_LIVE: made") {
		t.Errorf("would do:\n%s\ndid:\n%s", first, did)
	}
	if again := lines(b.Difference(t.Context(), deployment(detect))); again != "" {
		t.Errorf("provisioned, it would do:\n%s", again)
	}
	next := deployment(flow.Group{Name: "detect", Slot: 1, Off: true}, depth)
	next.Limits.ScenesKeep = time.Hour
	before := names()
	would := lines(b.Difference(t.Context(), next))
	if got := names(); !slices.Equal(got, before) || deployed(t, b).Groups[0].Off {
		t.Errorf("it made %v of %v", got, before)
	}
	for _, line := range []string{
		"group detect: on → off", "group depth: new, slot 2, depth, required", "scenes are kept: 15m0s → 1h0m0s",
		"stream SCENES_LOSSLESS: max_age 15m0s → 1h0m0s", "stream RESULTS_DEPTH_LOSSLESS: made", "consumer depth of FRAMES_LIVE: made",
		"consumer detect of FRAMES_LIVE: deleted",
	} {
		if !strings.Contains(would, line+"\n") && !strings.HasSuffix(would, line) {
			t.Errorf("it would do:\n%s\nwhich lacks %q", would, line)
		}
	}
	if did := lines(b.Apply(t.Context(), next)); did != would {
		t.Errorf("would do:\n%s\ndid:\n%s", would, did)
	}
}

// What an operator has set beside stays, what is another stream's or consumer's setting comes back.
func TestProvisionMendsSettings(t *testing.T) {
	t.Parallel()
	b := provisioned(t)
	js := b.JetStream()
	stream, err := js.Stream(t.Context(), "FRAMES_LIVE")
	if err != nil {
		t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	config.MaxMsgs, config.Description = 1, "theirs"
	if _, err := js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	c, err := js.Consumer(t.Context(), "FRAMES_LIVE", "detect")
	if err != nil {
		t.Fatal(err)
	}
	slow := c.CachedInfo().Config
	slow.AckWait = time.Hour
	if _, err := js.UpdateConsumer(t.Context(), "FRAMES_LIVE", slow); err != nil {
		t.Fatal(err)
	}
	changes, err := b.Apply(t.Context(), flow.DefaultDeployment())
	if err != nil || len(changes) != 2 {
		t.Errorf("it changed %v, %v", changes, err)
	}
	if stream, err = js.Stream(t.Context(), "FRAMES_LIVE"); err != nil || stream.CachedInfo().Config.MaxMsgs != 4096 || stream.CachedInfo().Config.Description != "theirs" {
		t.Errorf("the stream is %+v, %v", stream.CachedInfo().Config, err)
	}
	if c, err = js.Consumer(t.Context(), "FRAMES_LIVE", "detect"); err != nil || c.CachedInfo().Config.AckWait != 3*time.Second {
		t.Errorf("the consumer is %+v, %v", c.CachedInfo().Config, err)
	}
}

// Whoever publishes while a stream is made again is told to try again, or what was published is there: nothing is thrown away
// because the stream has no consumer yet.
func TestNothingIsLostWhileAStreamIsMade(t *testing.T) {
	t.Parallel()
	b := provisioned(t)
	if err := b.JetStream().DeleteStream(t.Context(), "RESULTS_DETECT_LOSSLESS"); err != nil {
		t.Fatal(err)
	}
	stop, stored := make(chan struct{}), make(chan uint64)
	go func() {
		var seq uint64
		for {
			select {
			case <-stop:
				stored <- seq
				return
			default:
			}
			if b.PublishResult(t.Context(), result("detect", "cam1", seq+1)) == nil {
				seq++
			}
		}
	}()
	if _, err := b.Apply(t.Context(), flow.DefaultDeployment()); err != nil {
		t.Error(err)
	}
	close(stop)
	want := <-stored
	stream, err := b.JetStream().Stream(t.Context(), "RESULTS_DETECT_LOSSLESS")
	if err != nil {
		t.Fatal(err)
	}
	if have := stream.CachedInfo().State.Msgs; have != want {
		t.Errorf("%d of %d results that were stored are there", have, want)
	}
}

// A stream whose maker was killed before it had its consumers gets them, and then takes messages.
func TestStreamThatWasHalfMade(t *testing.T) {
	t.Parallel()
	b := provisioned(t)
	js := b.JetStream()
	stream, err := js.Stream(t.Context(), "FRAMES_LIVE")
	if err != nil {
		t.Fatal(err)
	}
	half := stream.CachedInfo().Config
	if err := js.DeleteStream(t.Context(), half.Name); err != nil {
		t.Fatal(err)
	}
	half.Subjects, half.RePublish = nil, nil
	if _, err := js.CreateStream(t.Context(), half); err != nil {
		t.Fatal(err)
	}
	d, _, err := b.Deployment(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	changes, err := b.NewRepairs().Round(t.Context(), d)
	want := "consumer detect of FRAMES_LIVE: made\nconsumer depth of FRAMES_LIVE: made\nstream FRAMES_LIVE: takes messages"
	var did []string
	for _, change := range changes {
		did = append(did, change.Text)
	}
	if got := strings.Join(did, "\n"); got != want || err != nil {
		t.Errorf("it did:\n%s\n%v, want:\n%s", got, err, want)
	}
	if stream, err = js.Stream(t.Context(), "FRAMES_LIVE"); err != nil || !slices.Equal(stream.CachedInfo().Config.Subjects, []string{"frames.live.>"}) || stream.CachedInfo().Config.RePublish == nil {
		t.Errorf("the stream is %+v, %v", stream.CachedInfo().Config, err)
	}
}

// Who repairs with the object of a moment ago undoes nothing of what was provisioned meanwhile.
func TestRepairsAreOfTheObjectThatIsStored(t *testing.T) {
	t.Parallel()
	b := provisioned(t)
	before := deployed(t, b)
	off := before.With(slices.Clone(before.Groups))
	off.Groups[1].Off = true
	if err := b.Provision(t.Context(), off); err != nil {
		t.Fatal(err)
	}
	repairs := b.NewRepairs()
	if changes, err := repairs.Round(t.Context(), before); len(changes) != 0 || err != nil {
		t.Errorf("it did %v, %v", changes, err)
	}
	if names := consumers(t, b, "FRAMES_LIVE"); !slices.Equal(names, []string{"detect"}) {
		t.Errorf("consumers %v after depth was switched off", names)
	}
	if err := b.JetStream().DeleteStream(t.Context(), "RESULTS_DETECT_LIVE"); err != nil {
		t.Fatal(err)
	}
	if changes, err := repairs.Round(t.Context(), deployed(t, b)); len(changes) == 0 || err != nil {
		t.Errorf("with the object that is stored it did %v, %v", changes, err)
	}
}
