package fuser_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/natsserver"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/flow/telemetry"
	"github.com/spatial-flow/spatial-flow/fuser"
)

const patience = 3 * time.Minute

// bench is a provisioned server with a connection of the test's own.
type bench struct {
	server *natsserver.Server
	bus    *bus.Bus
}

func newBench(t testing.TB) bench {
	t.Helper()
	return newBenchWith(t, flow.DefaultDeployment())
}

func newBenchWith(t testing.TB, d flow.Deployment) bench {
	t.Helper()
	server, err := natsserver.Start(t.TempDir(), "", "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	b, err := server.Connect("test", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	made := bench{server, b}
	made.provision(t, d)
	return made
}

func (b bench) provision(t testing.TB, d flow.Deployment) {
	t.Helper()
	if err := b.bus.Provision(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

// runner is one life of a fuser.
type runner struct {
	t       testing.TB
	bus     *bus.Bus
	metrics *prometheus.Registry
	cancel  context.CancelFunc
	ended   chan error
}

func (b bench) startFuser(t testing.TB) *runner {
	t.Helper()
	connection, err := b.server.Connect("fuser", nil)
	if err != nil {
		t.Fatal(err)
	}
	return runFuser(t, connection, slog.New(slog.DiscardHandler))
}

// runFuser runs a fuser that has the connection for itself.
func runFuser(t testing.TB, connection *bus.Bus, log *slog.Logger) *runner {
	t.Helper()
	var cfg fuser.Config
	if err := service.Defaults(&cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &runner{t: t, bus: connection, metrics: prometheus.NewRegistry(), cancel: cancel, ended: make(chan error, 1)}
	env := service.Env{Bus: connection, Log: log, Metrics: r.metrics, Health: new(telemetry.Health)}
	go func() { r.ended <- fuser.Run(ctx, cfg, env) }()
	return r
}

func (r *runner) stop() {
	r.t.Helper()
	if err := r.end(); err != nil {
		r.t.Errorf("fuser ended with %v", err)
	}
	r.bus.Close()
}

// kill takes the connection away first: nothing more is acked, given back or written, as after kill -9. Nobody asks a
// killed process what it ended with: one that was about to subscribe fails.
func (r *runner) kill() {
	r.t.Helper()
	r.bus.Conn().Close()
	_ = r.end()
}

// end waits for the fuser, and returns what it ended with.
func (r *runner) end() error {
	r.t.Helper()
	r.cancel()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(patience):
		r.t.Fatal("fuser did not stop")
		return nil
	}
}

func (b bench) publish(t testing.TB, r *flow.Result) {
	t.Helper()
	if err := b.bus.PublishResult(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

// scenes reads the stored scenes until there are n of them, and fails when one comes twice or out of order.
func (b bench) scenes(t *testing.T, n int) []*flow.Scene {
	t.Helper()
	messages, err := b.bus.ReadScenes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Stop()
	last := map[string]uint64{}
	var scenes []*flow.Scene
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for len(scenes) < n {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			t.Fatalf("after %d of %d scenes: %v", len(scenes), n, err)
		}
		scene := new(flow.Scene)
		if err := flow.Decode(msg.Data(), scene); err != nil {
			t.Fatal(err)
		}
		if scene.Seq != last[scene.Source]+1 {
			t.Fatalf("%s: scene %d after %d", scene.Source, scene.Seq, last[scene.Source])
		}
		last[scene.Source] = scene.Seq
		if msg.Headers().Get(bus.OutcomeHeader) != string(scene.Outcome) {
			t.Fatalf("outcome header %q of a scene that is %q", msg.Headers().Get(bus.OutcomeHeader), scene.Outcome)
		}
		scenes = append(scenes, scene)
	}
	return scenes
}

// drained waits until every result is acked.
func (b bench) drained(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for _, group := range plan {
		name := map[string]string{flow.GroupDetect: "RESULTS_DETECT_LOSSLESS", flow.GroupDepth: "RESULTS_DEPTH_LOSSLESS"}[group]
		for {
			stream, err := b.bus.JetStream().Stream(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			left := stream.CachedInfo().State.Msgs
			if left == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s still holds %d results", name, left)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

func TestShuffledAndDuplicatedResultsBecomeOneSceneEach(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	f := b.startFuser(t)
	defer f.stop()
	const frames = 60
	var results []*flow.Result
	for seq := range uint64(frames) {
		for _, group := range plan {
			for _, source := range []string{"cam1", "cam2", "cam3"} {
				results = append(results, result(group, source, seq+1))
			}
		}
	}
	rand.New(rand.NewPCG(7, 7)).Shuffle(len(results), func(i, j int) { results[i], results[j] = results[j], results[i] })
	for i, r := range results {
		b.publish(t, r)
		if i%10 == 0 { // past the dedupe window, as after a restart of the server
			data, err := flow.Encode(nil, r)
			if err != nil {
				t.Fatal(err)
			}
			subject := flow.ResultSubject(r.Group, r.Mode, r.Place(), r.Source)
			if _, err := b.bus.JetStream().PublishMsg(t.Context(), &nats.Msg{Subject: subject, Data: data}); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.scenes(t, 3*frames)
	b.drained(t)
}

// Killed again and again while results come in: every frame has one scene, in order.
func TestKilledFuserLosesAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const frames = 90
	f := b.startFuser(t)
	for seq := uint64(1); seq <= frames; seq++ {
		for _, group := range plan {
			b.publish(t, result(group, "cam1", seq))
		}
		if seq%30 == 0 {
			b.scenes(t, int(seq)-29) // it is in the middle of them
			f.kill()
			f = b.startFuser(t)
		}
	}
	defer func() { f.stop() }()
	b.scenes(t, frames)
	b.drained(t)
}

// A clean stop gives back at once what is held, so the next fuser need not wait for AckWait.
func TestStoppedFuserHandsOver(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	done := make(chan flow.Done, 10)
	sub, err := b.bus.SubscribeDone("fuser", "cam1", func(_ string, d flow.Done) { done <- d })
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Unsubscribe()
	f := b.startFuser(t)
	b.publish(t, result(flow.GroupDetect, "cam1", 1))
	b.publish(t, result(flow.GroupDetect, "cam1", 2))
	b.publish(t, result(flow.GroupDepth, "cam1", 1))
	b.scenes(t, 1)
	f.stop()
	position, last, err := b.bus.Position(t.Context(), "cam1", "s")
	if err != nil || position.Seq != 1 || last == nil {
		t.Fatalf("position %v, last scene %v, %v", position, last, err)
	}
	f = b.startFuser(t)
	defer f.stop()
	b.publish(t, result(flow.GroupDepth, "cam1", 2))
	b.scenes(t, 2)
	for want := uint64(1); want <= 2; want++ {
		if d := <-done; d.Seq != want || d.Session != "s" || d.Outcome != flow.OutcomeComplete {
			t.Fatalf("done %+v, want seq %d", d, want)
		}
	}
	b.drained(t)
}

// The position outlives the scenes: after a long outage the run goes on where it was.
func TestPositionOutlivesTheScenes(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	f := b.startFuser(t)
	for _, group := range plan {
		b.publish(t, result(group, "cam1", 1))
	}
	b.scenes(t, 1)
	f.stop()
	stream, err := b.bus.JetStream().Stream(t.Context(), "SCENES_LOSSLESS")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	f = b.startFuser(t)
	defer f.stop()
	for seq := uint64(1); seq <= 2; seq++ { // 1 is a redelivery: it must not become a scene again
		for _, group := range plan {
			r := result(group, "cam1", seq)
			r.Model = "again" // a new message in spite of the dedupe window
			data, _ := flow.Encode(nil, r)
			if _, err := b.bus.JetStream().Publish(t.Context(), flow.ResultSubject(group, r.Mode, r.Place(), r.Source), data); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.drained(t)
	last, err := b.bus.LastScene(t.Context(), "cam1", "s")
	if err != nil || last.Seq != 2 {
		t.Fatalf("last scene %+v, %v; want seq 2", last, err)
	}
	if _, err := b.bus.SceneOutcome(t.Context(), flow.AnyPartition, flow.FrameID{Source: "cam1", Session: "s", Seq: 1}); err == nil {
		t.Fatal("frame 1 has a second scene")
	}
}

func TestGarbageIsTerminatedAndCounted(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	f := b.startFuser(t)
	defer f.stop()
	for i, garbage := range [][]byte{nil, []byte("no msgpack"), {0x81, 0xa1, 0x7a, 0xdd, 0xff, 0xff, 0xff, 0xff}} {
		if _, err := b.bus.JetStream().Publish(t.Context(), flow.ResultSubject(flow.GroupDetect, flow.ModeLossless, 0, fmt.Sprintf("cam%d", i)), garbage); err != nil {
			t.Fatal(err)
		}
	}
	for _, group := range plan {
		b.publish(t, result(group, "cam1", 1))
	}
	b.scenes(t, 1)
	b.drained(t)
	expected := "# HELP spatialflow_refused_total Bad input that was turned away.\n# TYPE spatialflow_refused_total counter\n" +
		"spatialflow_refused_total{door=\"results\",reason=\"malformed\"} 3\n"
	if err := testutil.GatherAndCompare(f.metrics, strings.NewReader(expected), "spatialflow_refused_total"); err != nil {
		t.Error(err)
	}
}

func TestFrameOfAGroupThatIsLeftOutNowIsPartial(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.publish(t, result(flow.GroupDetect, "cam1", 1))
	groups := flow.DefaultGroups()
	groups[1].Off = true
	if err := b.bus.Provision(t.Context(), flow.DefaultDeployment().With(groups)); err != nil {
		t.Fatal(err)
	}
	defer b.startFuser(t).stop()
	scene := b.scenes(t, 1)[0]
	if scene.Outcome != flow.OutcomePartial || !slices.Equal(scene.Missing, []string{flow.GroupDepth}) {
		t.Fatalf("outcome %s, missing %v; want partial without depth", scene.Outcome, scene.Missing)
	}
	b.drained(t)
}

// A group that is left out, and taken in again, while the fuser runs: what waits for it goes out partial, until it is back.
func TestGroupsChangeWhileFusing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	defer b.startFuser(t).stop()
	provision := func(off bool) {
		t.Helper()
		groups := flow.DefaultGroups()
		groups[1].Off = off
		if err := b.bus.Provision(t.Context(), flow.DefaultDeployment().With(groups)); err != nil {
			t.Fatal(err)
		}
	}
	b.publish(t, result(flow.GroupDetect, "cam1", 1))
	time.Sleep(100 * time.Millisecond) // it waits for depth
	provision(true)
	if scene := b.scenes(t, 1)[0]; scene.Outcome != flow.OutcomePartial {
		t.Errorf("scene 1 is %s, want partial", scene.Outcome)
	}
	provision(false)
	begin := time.Now()
	for seq := uint64(2); ; seq++ {
		b.publish(t, result(flow.GroupDepth, "cam1", seq))
		b.publish(t, result(flow.GroupDetect, "cam1", seq))
		if b.scenes(t, int(seq))[seq-1].Outcome == flow.OutcomeComplete {
			break
		}
		if time.Since(begin) > patience {
			t.Fatal("depth is back, and no scene is complete")
		}
		time.Sleep(50 * time.Millisecond)
	}
	b.drained(t)
}

// A result that says something else than the subject it came on is refused: one of live mode would hold its partition up
// for ever, one of another group would take that group's place.
func TestResultThatBeliesItsSubjectIsRefused(t *testing.T) {
	t.Parallel()
	live := result(flow.GroupDetect, "cam1", 1)
	live.Mode = flow.ModeLive
	other := result(flow.GroupDepth, "cam1", 1)
	other.Error = "not from depth"
	b := newBench(t)
	f := b.startFuser(t)
	defer f.stop()
	for _, lie := range []*flow.Result{live, other} {
		data, err := flow.Encode(nil, lie)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.bus.JetStream().Publish(t.Context(), flow.ResultSubject(flow.GroupDetect, flow.ModeLossless, lie.Place(), "cam1"), data); err != nil {
			t.Fatal(err)
		}
	}
	for _, group := range plan {
		b.publish(t, result(group, "cam1", 1))
	}
	if scene := b.scenes(t, 1)[0]; scene.Outcome != flow.OutcomeComplete {
		t.Errorf("scene is %s: %v", scene.Outcome, scene.Errors)
	}
	b.drained(t)
}
