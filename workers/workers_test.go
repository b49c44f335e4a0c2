package workers_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/flow/telemetry"
	"github.com/spatial-flow/spatial-flow/workers"
	"github.com/spatial-flow/spatial-flow/workers/depth"
	"github.com/spatial-flow/spatial-flow/workers/detect"
	"github.com/spatial-flow/spatial-flow/workers/engine"
	"github.com/spatial-flow/spatial-flow/workers/models"
)

const (
	detects   = flow.GroupDetect
	estimates = flow.GroupDepth
)

func TestEachGroupAnswersEveryFrame(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	type told struct {
		group string
		flow.Done
	}
	done := make(chan told, 100)
	for _, group := range []string{detects, estimates} {
		defer b.start(t, settings(t, group)).stop(t)
		if _, err := b.bus.SubscribeDone(group, "cam1", func(_ string, d flow.Done) { done <- told{group, d} }); err != nil {
			t.Fatal(err)
		}
	}
	const frames = 10
	for seq := uint64(1); seq <= frames; seq++ {
		b.publish(t, frame(t, seq, detects, estimates))
	}
	found, estimated := b.results(t, detects, frames), b.results(t, estimates, frames)
	b.drained(t)
	for seq := uint64(1); seq <= frames; seq++ {
		d, e := found[seq], estimated[seq]
		for group, r := range map[string]*flow.Result{detects: d, estimates: e} {
			if r.Error != "" || r.Group != group || r.Model != "nocost_"+group+".onnx" || r.Width != 64 || r.Height != 48 ||
				r.Captured != 1700000000e9 || r.Sent == 0 || !slices.Equal(r.Plan, []string{detects, estimates}) {
				t.Fatalf("%s of frame %d: %+v", group, seq, r)
			}
			if len(r.Ledger) != 2 || r.Ledger[0].Stage != "producer" || r.Ledger[1].Stage != group || r.Ledger[1].Work <= 0 || r.Ledger[1].Wait < 0 {
				t.Errorf("%s of frame %d: ledger %+v", group, seq, r.Ledger)
			}
		}
		// The first box of the model lies at 30, 110 to 130, 290 of its 640x640, a tenth of which is the picture, 80 down.
		if len(d.Detections) != 8 || d.Depth != nil || fmt.Sprint(d.Detections[0].Box) != "[3 3 13 21]" || d.Detections[0].Label != "person" {
			t.Fatalf("detections of frame %d: %+v", seq, d.Detections)
		}
		if e.Depth == nil || e.Depth.Width != 42 || e.Depth.Height != 28 || e.Depth.Kind != depthmap.InverseRelative || e.Detections != nil {
			t.Fatalf("depth of frame %d: %+v, want a map of 42x28", seq, e.Depth)
		}
	}
	type one struct {
		group string
		seq   uint64
	}
	for seen := map[one]bool{}; len(seen) < 2*frames; { // a frame that waited for long is delivered, and told of, again
		select {
		case d := <-done:
			seen[one{d.group, d.Seq}] = true
			if d.Session != "s" || d.Seq < 1 || d.Seq > frames || d.Outcome != flow.OutcomeComplete || d.Work <= 0 {
				t.Fatalf("done %+v", d)
			}
		case <-time.After(patience):
			t.Fatalf("after %d of %d done messages no more come", len(seen), 2*frames)
		}
	}
}

// A worker is ready once it has its model and can take frames, and not before.
func TestReadyWithAConsumer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, stream := range []string{"FRAMES_LIVE", "FRAMES_LOSSLESS"} {
		if err := b.bus.JetStream().DeleteConsumer(t.Context(), stream, detects); err != nil {
			t.Fatal(err)
		}
	}
	heard := make(chan *nats.Msg, 64)
	if _, err := b.bus.Conn().ChanSubscribe(flow.AliveSubject(detects, "*"), heard); err != nil {
		t.Fatal(err)
	}
	l := b.start(t, settings(t, detects))
	defer l.stop(t)
	for range 2 { // it has its model
		select {
		case <-heard:
		case <-time.After(patience):
			t.Fatal("no alive message comes")
		}
	}
	if l.health.Ready() {
		t.Error("a worker that can take no frames is ready")
	}
	if err := b.bus.Provision(t.Context(), flow.DefaultDeployment().With(groups)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the worker is ready", l.health.Ready)
}

// A frame that can't be looked at has an answer too: the reason.
func TestFrameThatCannotBeLookedAtIsAnsweredWithTheReason(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	done := make(chan flow.Done, 10)
	if _, err := b.bus.SubscribeDone(estimates, "cam1", func(_ string, d flow.Done) { done <- d }); err != nil {
		t.Fatal(err)
	}
	cfg := settings(t, estimates)
	cfg.Parallel, cfg.DepthSize = 1, 518
	defer b.start(t, cfg).stop(t)
	whole := jpegOf(t, 512, 512)
	says := map[uint64]string{2: "bad picture", 3: "cut short", 4: "file of 0 bytes", 5: "at most 6 times longer than wide", 6: "bad picture"}
	for seq := uint64(1); seq <= 7; seq++ {
		f := frame(t, seq, estimates)
		switch seq {
		case 2:
			f.Picture = []byte("no picture")
		case 3:
			f.Picture = whole[:len(whole)/2]
		case 4: // said by the producer
			f.Picture, f.Error, f.Width, f.Height = nil, "street.jpg: file of 0 bytes", 0, 0
		case 5:
			f.Picture = jpegOf(t, 1, 200)
		case 6:
			f.Picture = nil
		}
		b.publish(t, f)
	}
	results := b.results(t, estimates, 7)
	b.drained(t)
	ended := map[uint64]flow.Outcome{}
	for range 7 {
		select {
		case d := <-done:
			ended[d.Seq] = d.Outcome
		case <-time.After(patience):
			t.Fatalf("after %v no done message comes", ended)
		}
	}
	for seq := uint64(1); seq <= 7; seq++ {
		r, want, class := results[seq], flow.OutcomeComplete, flow.Class("")
		if says[seq] != "" {
			want, class = flow.OutcomeError, flow.ClassPicture
		}
		if ended[seq] != want || r.Failure() != (flow.Failure{Class: class}) {
			t.Errorf("frame %d is %s, %+v; want %s, class %q", seq, ended[seq], r.Failure(), want, class)
		}
		if (r.Error == "") != (says[seq] == "") || !strings.Contains(r.Error, says[seq]) || (r.Depth == nil) != (r.Error != "") {
			t.Errorf("frame %d: error %q, want %q; depth %v", seq, r.Error, says[seq], r.Depth != nil)
		}
	}
	if r := results[4]; r.Width != 0 || r.Error != "street.jpg: file of 0 bytes" {
		t.Errorf("the producer's error became %+v", r)
	}
}

// What is no frame of this stream is terminated, counted, and does not keep others from being answered.
func TestGarbageIsTerminatedAndCounted(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	l := b.start(t, settings(t, detects))
	defer l.stop(t)
	encode := func(change func(*flow.Frame)) []byte {
		f := frame(t, 1, detects)
		change(f)
		data, err := flow.Encode(nil, f)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	garbage := [][]byte{
		nil, []byte("no msgpack"), {0x81, 0xa1, 0x7a, 0xdd, 0xff, 0xff, 0xff, 0xff},
		encode(func(f *flow.Frame) { f.Version = 0 }),
		encode(func(f *flow.Frame) { f.Seq = 0 }),
		encode(func(f *flow.Frame) { f.Plan = nil }),
		encode(func(f *flow.Frame) { f.Mode = flow.ModeLive }), // no stream takes its result: a slot would try for ever
	}
	for _, data := range garbage {
		if _, err := b.bus.JetStream().Publish(t.Context(), groups.FrameSubject(lossless, []string{detects}, "cam1"), data); err != nil {
			t.Fatal(err)
		}
	}
	b.publish(t, frame(t, 1, detects))
	if r := b.results(t, detects, 1)[1]; r == nil || r.Error != "" {
		t.Errorf("the frame behind them: %+v", r)
	}
	b.drained(t)
	expected := "# HELP spatialflow_refused_total Bad input that was turned away.\n# TYPE spatialflow_refused_total counter\n" +
		fmt.Sprintf("spatialflow_refused_total{door=\"frames\",reason=\"malformed\"} %d\n", len(garbage))
	if err := testutil.GatherAndCompare(l.metrics, strings.NewReader(expected), "spatialflow_refused_total"); err != nil {
		t.Error(err)
	}
}

// A group that is away holds up no other, and finds its frames when it comes.
func TestGroupsAreIndependent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	detector := b.start(t, settings(t, detects))
	defer detector.stop(t)
	const frames = 20
	for seq := uint64(1); seq <= frames; seq++ {
		b.publish(t, frame(t, seq, detects, estimates))
	}
	b.results(t, detects, frames)
	if waiting := b.info(t, estimates).NumPending; waiting != frames {
		t.Errorf("%d frames wait for depth, want %d", waiting, frames)
	}
	defer b.start(t, settings(t, estimates)).stop(t)
	b.results(t, estimates, frames)
	b.drained(t)
}

func TestAliveSaysWhatRuns(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	heard := make(chan *nats.Msg, 64)
	if _, err := b.bus.Conn().ChanSubscribe(flow.AliveSubject(detects, "*"), heard); err != nil {
		t.Fatal(err)
	}
	if err := b.bus.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	l := b.start(t, settings(t, detects))
	defer l.stop(t)
	select {
	case msg := <-heard:
		alive, err := flow.ParseAlive(msg.Data)
		if err != nil || alive.Stage != detects || alive.Model != "nocost_detect.onnx" || alive.Family != "yolo-raw" || alive.Provider != "cpu" || alive.Parallel != 2 {
			t.Errorf("alive %s, %v", msg.Data, err)
		}
	case <-time.After(patience):
		t.Fatal("no alive message comes")
	}
	eventually(t, "the worker is ready", l.health.Ready)
}

func TestRunRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*workers.Config)
		want   error
	}{
		"settings that can't be run": {func(c *workers.Config) { c.Parallel = 0 }, workers.ErrConfig},
		"a model that is missing":    {func(c *workers.Config) { c.ModelData, c.Model = nil, "none.onnx" }, engine.ErrModel},
		"a provider that is none":    {func(c *workers.Config) { c.Provider = "abacus" }, engine.ErrProvider},
		"the other group's model":    {func(c *workers.Config) { c.ModelData = models.NoCostDepth }, detect.ErrUnsupported},
		"depth, the other's model":   {func(c *workers.Config) { c.Group = estimates }, depth.ErrUnsupported},
		"a library that is missing":  {func(c *workers.Config) { c.Onnxruntime = "/none/libonnxruntime.so" }, engine.ErrLibrary},
	} {
		cfg := settings(t, detects)
		test.change(&cfg)
		health := new(telemetry.Health)
		err := workers.Run(context.Background(), cfg, service.Env{Log: quiet, Metrics: prometheus.NewRegistry(), Health: health})
		if !errors.Is(err, test.want) || health.Ready() {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

// The models that ship with the program are what they are taken for.
func TestDemoModelsAnswer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.publish(t, frame(t, 1, detects, estimates))
	for _, group := range []string{detects, estimates} {
		cfg := settings(t, group)
		cfg.Model, cfg.ModelData = models.Demo(group)
		defer b.start(t, cfg).stop(t)
		if r := b.results(t, group, 1)[1]; r.Error != "" {
			t.Errorf("%s: %s", group, r.Error)
		}
	}
}
