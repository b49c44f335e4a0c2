package producer_test

import (
	"bytes"
	"errors"
	"fmt"
	"image/jpeg"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/reference"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/flow/telemetry"
	"github.com/spatial-flow/spatial-flow/producer"
)

// TestVideo carries a whole video past a fuser that answers only when nothing more comes: without the window all
// of it would come at once.
func TestVideo(t *testing.T) { // alone: it encodes as much as the others together
	path, there := reference.Part(t, "data", "pedestrians.avi")
	want, name := 795, "pedestrians"
	if !there {
		path, want, name = movie(t, 200, 768, 576), 200, "movie"
	}
	b := newBench(t)
	f := b.fuse(t, &fuser{burst: 40 * time.Millisecond})
	l := b.start(t, nil, path)
	summaries := l.wait()
	wantComplete(t, summaries, uint64(want))
	f.wantSeqs(name, want)
	frames, most := f.accepted(name)
	if most != 32 {
		t.Errorf("%d frames were open at once, want the window of 32", most)
	}
	if s := summaries[0]; s.Frames != uint64(want) || s.P50 <= 0 || s.P99 < s.P50 || s.Rate <= 0 || s.URI != path {
		t.Errorf("summary %+v", s)
	}
	for _, frame := range frames {
		config, err := jpeg.DecodeConfig(bytes.NewReader(frame.Picture))
		if err != nil || config.Width != frame.Width || config.Height != frame.Height || frame.Width != 768 {
			t.Fatalf("frame %d: %dx%d, said to be %dx%d: %v", frame.Seq, config.Width, config.Height, frame.Width, frame.Height, err)
		}
		if len(frame.Ledger) != 1 || frame.Ledger[0].Stage != "producer" || frame.Ledger[0].Work <= 0 || frame.Sent < frame.Captured {
			t.Fatalf("frame %d: ledger %+v, captured %d, sent %d", frame.Seq, frame.Ledger, frame.Captured, frame.Sent)
		}
	}
	if !l.health.Ready() {
		t.Error("not ready while it runs on")
	}
	l.stop()
	if l.health.Ready() {
		t.Error("ready after its end")
	}
}

// TestResume cuts a run's connection in the middle; its next life goes on, and one more finds nothing to do.
func TestResume(t *testing.T) {
	t.Parallel()
	for kind, path := range map[string]string{"folder": pictures(t, 60), "video": movie(t, 60, 64, 48)} {
		t.Run(kind, func(t *testing.T) {
			b := newBench(t)
			half := make(chan struct{})
			var open atomic.Bool
			f := b.fuse(t, &fuser{lose: func(id flow.FrameID) (bool, bool) {
				if id.Seq == 25 && open.CompareAndSwap(false, true) {
					close(half)
				}
				return false, false
			}})
			named := func(c *producer.Config) { c.Run, c.Window, c.Silence = "night", 4, 200*time.Millisecond }
			first := b.start(t, named, "s="+path)
			<-half
			first.bus.Close()
			if s := first.wait()[0]; s.State != flow.StateFailed || s.Reason == "" {
				t.Errorf("without its connection: %s %q", s.State, s.Reason)
			}
			first.stop()

			second := b.start(t, named, "s="+path)
			s := second.wait()[0]
			if s.State != flow.StateComplete || s.Resumed < 20 || s.Resumed+s.Account.Admitted != 60 || s.Frames != 60 || s.Session != "night" {
				t.Errorf("the second life: %+v", s)
			}
			if err := s.Account.CheckAtRest(); err != nil {
				t.Error(err)
			}
			f.wantSeqs("s", 60)
			second.stop()

			third := b.start(t, named, "s="+path)
			if s := third.wait()[0]; s.State != flow.StateComplete || s.Resumed != 60 || s.Account.Admitted != 0 {
				t.Errorf("the third life: %+v", s)
			}
			f.wantSeqs("s", 60)
			third.stop()
		})
	}
}

// TestStop ends a producer in the middle: what was admitted gets its scene, nothing more is admitted, and the next
// one says that this run is incomplete.
func TestStop(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	f := b.fuse(t, &fuser{burst: 30 * time.Millisecond})
	folder := "p=" + pictures(t, 200)
	l := b.start(t, func(c *producer.Config) { c.Window = 5 }, folder)
	for {
		if frames, _ := f.accepted("p"); len(frames) > 20 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	s := l.stop()[0]
	if err := s.Account.CheckAtRest(); err != nil || s.State != flow.StateStopped || s.Account.Admitted >= 200 {
		t.Errorf("%s, account %+v: %v", s.State, s.Account, err)
	}
	f.wantSeqs("p", int(s.Account.Admitted))

	if err := b.bus.SetPosition(t.Context(), "p", s.Session, flow.Position{Seq: s.Account.Admitted}); err != nil { // as the real fuser does
		t.Fatal(err)
	}
	next := b.start(t, nil, folder)
	next.wait()
	next.stop()
	want := fmt.Sprintf("run=%s stored=%d frames=200", s.Session, s.Account.Admitted)
	if log := next.log.String(); !strings.Contains(log, want) || strings.Count(log, "incomplete") != 1 {
		t.Errorf("want one report of %s in the log:\n%s", want, log)
	}
}

// TestFolder carries real and broken files: a JPEG byte for byte, a broken one as a frame that says why.
func TestFolder(t *testing.T) {
	t.Parallel()
	dir := pictures(t, 3)
	for name, data := range map[string][]byte{"p1b.jpg": []byte("no picture"), "p2b.png": nil, "readme.txt": []byte("no source")} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := newBench(t)
	f := b.fuse(t, &fuser{})
	l := b.start(t, nil, "p="+dir)
	s := l.wait()[0]
	if s.State != flow.StateComplete || s.Account.Complete != 3 || s.Account.Error != 2 || s.Frames != 5 {
		t.Errorf("%+v", s)
	}
	frames, _ := f.accepted("p")
	for i, name := range []string{"p1.jpg", "p1b.jpg", "p2.jpg", "p2b.png", "p3.jpg"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		frame := frames[i]
		if broken := strings.Contains(name, "b."); broken && (!strings.HasPrefix(frame.Error, name+": ") || len(frame.Picture) != 0) {
			t.Errorf("%s: %q, %d bytes", name, frame.Error, len(frame.Picture))
		} else if !broken && (!bytes.Equal(frame.Picture, data) || frame.Width != 32 || frame.Height != 16) {
			t.Errorf("%s: %dx%d, not byte for byte", name, frame.Width, frame.Height)
		}
	}
	l.stop()
	const want = `
# HELP spatialflow_frames_in_flight Admitted frames whose scene is not yet seen.
# TYPE spatialflow_frames_in_flight gauge
spatialflow_frames_in_flight{source="p"} 0
# HELP spatialflow_frames_total The account of a source's frames.
# TYPE spatialflow_frames_total counter
spatialflow_frames_total{outcome="admitted",reason="",source="p"} 5
spatialflow_frames_total{outcome="captured",reason="",source="p"} 5
spatialflow_frames_total{outcome="complete",reason="",source="p"} 3
spatialflow_frames_total{outcome="error",reason="",source="p"} 2
spatialflow_frames_total{outcome="partial",reason="",source="p"} 0
`
	if err := testutil.GatherAndCompare(l.metrics, strings.NewReader(want), "spatialflow_frames_in_flight", "spatialflow_frames_total"); err != nil {
		t.Error(err)
	}
}

// TestSharedPictures carries real photographs byte for byte.
func TestSharedPictures(t *testing.T) {
	t.Parallel()
	dir := reference.Path(t, "data", "images")
	b := newBench(t)
	f := b.fuse(t, &fuser{})
	l := b.start(t, nil, dir)
	l.wait()
	frames, _ := f.accepted("images")
	paths, err := filepath.Glob(filepath.Join(dir, "*.jpg"))
	if err != nil || len(paths) != len(frames) {
		t.Fatalf("%d frames of %d files: %v", len(frames), len(paths), err)
	}
	for i, path := range paths { // sorted, and of equal length
		if data, err := os.ReadFile(path); err != nil || !bytes.Equal(frames[i].Picture, data) {
			t.Errorf("%s did not travel byte for byte: %v", path, err)
		}
	}
	l.stop()
}

// TestOneFails runs sources that can't be opened beside one that can.
func TestOneFails(t *testing.T) {
	t.Parallel()
	empty, text := t.TempDir(), filepath.Join(t.TempDir(), "text.avi")
	if err := os.WriteFile(text, []byte("no video"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	b.fuse(t, &fuser{})
	l := b.start(t, func(c *producer.Config) { c.ExitWhenDone = true },
		"gone=/no/such.avi", "empty="+empty, "text="+text, "/dev/null", "good="+filepath.Join(pictures(t, 1), "p1.jpg"))
	if err := <-l.ended; !errors.Is(err, producer.ErrSource) || !strings.Contains(err.Error(), "4 of 5") {
		t.Errorf("Run: %v", err)
	}
	l.ended <- nil
	statuses := l.board.Statuses()
	for i, reason := range []string{"/no/such.avi", "holds no JPEG", "text.avi: no film", "neither a file nor a folder"} {
		if s := statuses[i]; s.State != flow.StateFailed || !strings.Contains(s.Reason, reason) {
			t.Errorf("%s: %s %q", s.Source, s.State, s.Reason)
		}
	}
	wantComplete(t, l.board.Summaries()[4:], 1)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for flag, change := range map[string]func(*producer.Config){
		"--window": func(c *producer.Config) { c.Window = 0 }, "--quality": func(c *producer.Config) { c.Quality = 101 },
		"--run": func(c *producer.Config) { c.Run = "a b" }, "--store-timeout": func(c *producer.Config) { c.StoreTimeout = 0 },
		"--drain": func(c *producer.Config) { c.Drain = -1 }, "64": func(c *producer.Config) { c.Sources = slices.Repeat([]string{"a.avi"}, 65) },
		"rtmp:": func(c *producer.Config) { c.Sources = []string{"rtmp://u:p@host/s"} },
		"live":  func(c *producer.Config) { c.Sources = []string{"rtsp://u:p@host/s#mode=lossless"} },
		"--fps": func(c *producer.Config) { c.FPS = -1 }, "--budget": func(c *producer.Config) { c.Budget = 0 },
		"--window-memory": func(c *producer.Config) { c.WindowMemory = 0 }, "--max-sources": func(c *producer.Config) { c.MaxSources = 0 },
		"--ingest-sources": func(c *producer.Config) { c.IngestSources = 1 << 20 },
		"--max-rate":       func(c *producer.Config) { c.MaxRate = map[string]float64{"depth": 0} },
		"--max side":       func(c *producer.Config) { c.MaxSide = 7 },
	} {
		var cfg producer.Config
		if err := service.Defaults(&cfg); err != nil {
			t.Fatal(err)
		}
		change(&cfg)
		err := producer.Run(t.Context(), cfg, service.Env{})
		if err == nil || !strings.Contains(err.Error(), flag) || !(errors.Is(err, producer.ErrConfig) || errors.Is(err, producer.ErrUnsupported)) {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

// TestNotProvisioned waits for the deployment object, and can be stopped meanwhile. Groups that are all off are refused.
func TestNotProvisioned(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	js, deployment := b.bus.JetStream(), flow.DefaultDeployment()
	kv, err := js.KeyValue(t.Context(), bus.DeploymentBucket)
	if err != nil {
		t.Fatal(err)
	}
	if err := kv.Delete(t.Context(), "deployment"); err != nil {
		t.Fatal(err)
	}
	path := "p=" + pictures(t, 2)
	waiting := b.start(t, nil, path)
	until(t, "it says what it waits for", func() bool { return waiting.status().Reason == "waiting for the deployment object" })
	if waiting.health.Ready() {
		t.Error("ready without a deployment")
	}
	if s := waiting.stop()[0]; s.State != flow.StateStopped {
		t.Errorf("stopped while it waited: %+v", s)
	}
	l := b.start(t, nil, path)
	f := b.fuse(t, &fuser{})
	if _, err := kv.Put(t.Context(), "deployment", deployment.Encode()); err != nil {
		t.Fatal(err)
	}
	wantComplete(t, l.wait(), 2)
	f.wantSeqs("p", 2)
	l.stop()
	for i := range deployment.Groups {
		deployment.Groups[i].Off = true
	}
	if _, err := kv.Put(t.Context(), "deployment", deployment.Encode()); err != nil {
		t.Fatal(err)
	}
	off := b.start(t, nil, path)
	if err := <-off.ended; !errors.Is(err, producer.ErrNoGroups) {
		t.Errorf("all groups off: %v", err)
	}
}

// Groups that are all off, or whose moment is still to come, end no source that can wait for them: a live one, and a lossless one
// when a moment is named. Each says what it waits for, and goes on when a group is on.
func TestWaitsForAGroup(t *testing.T) {
	t.Parallel()
	on := flow.DefaultDeployment()
	off, later := on.With(slices.Clone(on.Groups)), on.With(slices.Clone(on.Groups))
	for i := range on.Groups {
		off.Groups[i].Off = true
		later.Groups[i].From = time.Now().Add(time.Hour)
	}
	for name, test := range map[string]struct {
		without flow.Deployment
		sources []string
		reasons []string
		failed  bool // the first
	}{
		"lossless, later": {later, []string{"p=" + pictures(t, 2)}, []string{"waiting for a worker group of lossless frames"}, false},
		"live, off":       {off, []string{"street:?seed=7&fps=5&size=64x64#mode=live"}, []string{"waiting for a worker group"}, false},
		"both, off": {
			off, []string{"p=" + pictures(t, 2), "street:?seed=7&fps=5&size=64x64#mode=live"},
			[]string{producer.ErrNoGroups.Error(), "waiting for a worker group"}, true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			kv, err := b.bus.JetStream().KeyValue(t.Context(), bus.DeploymentBucket)
			if err != nil {
				t.Fatal(err)
			}
			put := func(d flow.Deployment) {
				if _, err := kv.Put(t.Context(), "deployment", d.Encode()); err != nil {
					t.Fatal(err)
				}
			}
			put(test.without)
			b.serve(t, &group{name: "detect"}, &group{name: "depth"})
			b.fuse(t, &fuser{})
			l := b.start(t, nil, test.sources...)
			until := func(what string, so func([]flow.SourceStatus) bool) {
				t.Helper()
				for begin := time.Now(); !so(l.board.Statuses()); time.Sleep(10 * time.Millisecond) {
					if len(l.ended) > 0 || time.Since(begin) > patience {
						t.Fatalf("%s: %+v", what, l.board.Statuses())
					}
				}
			}
			until("no reason", func(statuses []flow.SourceStatus) bool {
				return slices.EqualFunc(statuses, test.reasons, func(s flow.SourceStatus, reason string) bool { return s.Reason == reason })
			})
			put(on)
			until("nothing came with the group", func(statuses []flow.SourceStatus) bool {
				return statuses[len(statuses)-1].Account.Complete >= 2
			})
			if state := l.stop()[0].State; (state == flow.StateFailed) != test.failed {
				t.Errorf("the first source is %s", state)
			}
		})
	}
}

// TestAlive hears of the sources once a second.
func TestAlive(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	heard := make(chan flow.Alive, 16)
	sub, err := b.bus.Conn().Subscribe("alive.producer.*", func(msg *nats.Msg) {
		if alive, err := flow.ParseAlive(msg.Data); err != nil {
			t.Error(err)
		} else {
			heard <- alive
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	b.fuse(t, &fuser{})
	l := b.start(t, nil, pictures(t, 3))
	l.wait()
	for alive := range heard {
		if len(alive.Sources) == 1 && alive.Sources[0].State == flow.StateComplete {
			if alive.Stage != "producer" || alive.Rate <= 0 || alive.Sources[0].Account.Complete != 3 {
				t.Errorf("%+v", alive)
			}
			break
		}
	}
	l.stop()
}

func BenchmarkRun(b *testing.B) {
	paths := map[string]string{"movie": movie(b, 100, 768, 576)}
	if film, there := reference.Part(b, "data", "pedestrians.avi"); there {
		paths["video"] = film
	}
	for name, path := range paths {
		b.Run(name, func(b *testing.B) {
			bench := newBench(b)
			bench.fuse(b, &fuser{})
			frames := uint64(0)
			b.ReportAllocs()
			for b.Loop() {
				var cfg producer.Config
				if err := service.Defaults(&cfg); err != nil {
					b.Fatal(err)
				}
				cfg.Sources, cfg.Status, cfg.ExitWhenDone = []string{path}, producer.NewBoard(), true
				env := service.Env{Bus: bench.bus, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Health: new(telemetry.Health)}
				if err := producer.Run(b.Context(), cfg, env); err != nil {
					b.Fatal(err)
				}
				frames += cfg.Status.Summaries()[0].Account.Complete
			}
			b.ReportMetric(float64(frames)/b.Elapsed().Seconds(), "frames/s")
		})
	}
}
