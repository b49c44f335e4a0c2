package live

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/flow/telemetry"
)

func testHub(change func(*Config)) *hub {
	cfg := Config{MaxViewers: 2000, MaxWatched: 3, MaxSources: 4, FrameBytes: 1000, TotalFrameBytes: 2000}
	if change != nil {
		change(&cfg)
	}
	return newHub(cfg, newMetrics(prometheus.NewRegistry(), telemetry.NewRefused(prometheus.NewRegistry())))
}

func (h *hub) viewer(t testing.TB, sources ...string) *viewer {
	t.Helper()
	v := newViewer(nil, 0)
	if !h.join(v) {
		t.Fatal("no room for a viewer")
	}
	h.follow(v, sources)
	return v
}

// base is the capture time, in nanoseconds, that the scenes of these tests count from: by their seq.
const base = 1_700_000_000_000_000_000

func scene(source, session string, seq uint64, withDepth bool) *flow.Scene {
	s := &flow.Scene{Source: source, Session: session, Seq: seq, Captured: base + int64(seq)*int64(time.Millisecond)}
	if withDepth {
		s.Depth = &depthmap.Map{Width: 1, Height: 1, Bits: 8, Data: []byte{byte(seq)}}
	}
	return s
}

func raw(t testing.TB, id flow.FrameID, size int) []byte {
	t.Helper()
	data, err := flow.Encode(nil, &flow.Frame{
		Version: flow.Wire, Source: id.Source, Session: id.Session, Seq: id.Seq, Picture: make([]byte, size),
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// taken is what a viewer is sent next, in short: scene, depth map, scenes dropped so far.
type taken struct {
	Session    string
	Seq, Depth uint64
	Dropped    uint64
	Picture    bool
}

func takeScene(v *viewer) (got taken, ok bool) {
	p, ok := v.take(time.Now())
	for ok && p.scene == nil {
		p, ok = v.take(time.Now())
	}
	if !ok {
		return taken{}, false
	}
	got = taken{Session: p.scene.scene.Session, Seq: p.scene.scene.Seq, Dropped: p.dropped, Picture: p.scene.frame != nil}
	if p.depth != nil {
		got.Depth = p.depth.seq
	}
	return got, true
}

func wantScene(t *testing.T, v *viewer, want taken) {
	t.Helper()
	got, ok := takeScene(v)
	if diff := cmp.Diff(want, got); !ok || diff != "" {
		t.Errorf("taken (-want +got):\n%s", diff)
	}
}

func wantNothing(t *testing.T, v *viewer) {
	t.Helper()
	if got, ok := takeScene(v); ok {
		t.Errorf("taken %+v, want nothing", got)
	}
}

func TestSlowViewerGetsNewestOnly(t *testing.T) {
	t.Parallel()
	h := testHub(nil)
	quick, slow := h.viewer(t, "a"), h.viewer(t, "a")
	for seq := uint64(1); seq <= 5; seq++ {
		h.addScene(scene("a", "s", seq, false), false)
		wantScene(t, quick, taken{Session: "s", Seq: seq})
	}
	wantScene(t, slow, taken{Session: "s", Seq: 5, Dropped: 4})
	wantNothing(t, slow)
	h.addScene(scene("a", "s", 6, false), false)
	wantScene(t, slow, taken{Session: "s", Seq: 6, Dropped: 4})
	if n := testutil.ToFloat64(h.metrics.drops.WithLabelValues(reasonSlow)); n != 4 {
		t.Errorf("spatialflow_viewer_drops_total{slow} %v, want 4", n)
	}
}

func TestDepthMapOutlivesItsScene(t *testing.T) {
	t.Parallel()
	h := testHub(nil)
	v := h.viewer(t, "a")
	h.addScene(scene("a", "s", 1, true), false)
	h.addScene(scene("a", "s", 2, true), false) // overtaken before it is sent
	h.addScene(scene("a", "s", 3, false), false)
	wantScene(t, v, taken{Session: "s", Seq: 3, Depth: 2, Dropped: 2})
	h.addScene(scene("a", "s", 4, false), false)
	wantScene(t, v, taken{Session: "s", Seq: 4, Dropped: 2}) // each map goes out once

	// A scene that comes after a later one gives only its map, and not at once.
	h.addScene(scene("a", "s", 9, false), false)
	wantScene(t, v, taken{Session: "s", Seq: 9, Dropped: 2})
	h.addScene(scene("a", "s", 7, true), false)
	h.addScene(scene("a", "s", 6, true), false) // its map is older
	wantNothing(t, v)
	h.addScene(scene("a", "s", 10, false), false)
	wantScene(t, v, taken{Session: "s", Seq: 10, Depth: 7, Dropped: 2})

	// A map of the session before does not belong to the next one.
	h.addScene(scene("a", "s", 11, true), false)
	h.addScene(scene("a", "t", 12, false), false)
	wantScene(t, v, taken{Session: "t", Seq: 12, Dropped: 3})
	h.addScene(scene("a", "s", 8, true), false)
	h.addScene(scene("a", "t", 13, false), false)
	wantScene(t, v, taken{Session: "t", Seq: 13, Dropped: 3})
	wantScene(t, h.viewer(t, "a"), taken{Session: "t", Seq: 13})
}

func TestDuplicatesAndOldSessionsAreIgnored(t *testing.T) {
	t.Parallel()
	h := testHub(nil)
	v := h.viewer(t, "a")
	h.addScene(scene("a", "old", 5, true), false)
	wantScene(t, v, taken{Session: "old", Seq: 5, Depth: 5})
	for _, again := range []*flow.Scene{scene("a", "old", 5, true), scene("a", "old", 4, false), scene("a", "older", 3, true)} {
		h.addScene(again, false)
		wantNothing(t, v)
	}
	fresh := scene("a", "new", 1, false)
	fresh.Captured = base + int64(time.Hour)
	h.addScene(fresh, false)
	wantScene(t, v, taken{Session: "new", Seq: 1})
	h.addScene(scene("a", "old", 6, false), false) // what was under way of the old session
	wantNothing(t, v)
}

func TestEachSourceHasItsTurn(t *testing.T) {
	t.Parallel()
	h := testHub(nil)
	v := h.viewer(t, "a", "b")
	for seq := uint64(1); seq <= 3; seq++ {
		h.addScene(scene("a", "a", seq, false), false)
		h.addScene(scene("b", "b", seq, false), false)
		h.addScene(scene("c", "c", seq, false), false)
	}
	wantScene(t, v, taken{Session: "a", Seq: 3, Dropped: 4})
	h.addScene(scene("a", "a", 4, false), false)
	wantScene(t, v, taken{Session: "b", Seq: 3, Dropped: 4})
	wantScene(t, v, taken{Session: "a", Seq: 4, Dropped: 4})
	wantNothing(t, v)
}

func TestWatchingAll(t *testing.T) {
	t.Parallel()
	h := testHub(nil) // three of at most four sources
	h.addScene(scene("z", "z", 1, false), false)
	v := h.viewer(t)
	for _, name := range []string{"y", "x", "w"} {
		h.addScene(scene(name, name, 1, false), false)
	}
	for _, session := range []string{"z", "y", "x"} { // "w" is one too many, and nobody goes for it
		wantScene(t, v, taken{Session: session, Seq: 1})
	}
	wantNothing(t, v)
	h.follow(v, []string{"w"})
	wantScene(t, v, taken{Session: "w", Seq: 1})
	h.addScene(scene("z", "z", 2, false), false)
	wantNothing(t, v)
	if got := h.watched(); !slices.Equal(got, []string{"w"}) {
		t.Errorf("watched %v", got)
	}
	h.leave(v)
	if got := h.watched(); len(got) != 0 {
		t.Errorf("watched %v after the viewer left", got)
	}
	h.follow(v, []string{"w"}) // too late: nothing must stay behind
	if got := h.watched(); len(got) != 0 {
		t.Errorf("watched %v by nobody", got)
	}
}

func TestFramesArePairedByID(t *testing.T) {
	t.Parallel()
	h := testHub(nil)
	v := h.viewer(t, "a")
	for seq := uint64(1); seq <= 4; seq++ {
		id := flow.FrameID{Source: "a", Session: "s", Seq: seq}
		h.addFrame(id, raw(t, id, 10))
		h.addFrame(id, raw(t, id, 10)) // published twice
	}
	h.addScene(scene("a", "s", 2, false), false)
	wantScene(t, v, taken{Session: "s", Seq: 2, Picture: true})
	h.addScene(scene("a", "t", 3, false), false) // another session: not this frame 3
	wantScene(t, v, taken{Session: "t", Seq: 3})
	if n := len(h.sources["a"].frames.frames); n != 0 || h.frameBytes != 0 {
		t.Errorf("%d frames of a session that ended, %d bytes", n, h.frameBytes)
	}
	late := flow.FrameID{Source: "a", Session: "t", Seq: 3}
	h.addFrame(late, raw(t, late, 10))
	if h.frameBytes != 0 {
		t.Error("a frame is kept whose scene was there before")
	}
}

func TestFrameIsWhatItsMessageIDSays(t *testing.T) {
	t.Parallel()
	id := flow.FrameID{Source: "a", Session: "s", Seq: 1}
	if picture, err := newFrame(id, raw(t, id, 7)).picture(); err != nil || len(picture) != 7 {
		t.Errorf("%d bytes, %v", len(picture), err)
	}
	other := flow.FrameID{Source: "a", Session: "s", Seq: 2}
	for name, data := range map[string][]byte{"another frame": raw(t, other, 7), "garbage": {0xc1}} {
		if _, err := newFrame(id, data).picture(); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFrameBytesAreBounded(t *testing.T) {
	t.Parallel()
	h := testHub(nil) // 1000 bytes a source, 2000 in all
	for _, source := range []string{"a", "b", "c"} {
		for seq := uint64(1); seq <= 20; seq++ {
			id := flow.FrameID{Source: source, Session: "s", Seq: seq}
			h.addFrame(id, raw(t, id, 100))
		}
	}
	sum := int64(0)
	for name, s := range h.sources {
		if s.frames.bytes > 1000 {
			t.Errorf("%s holds %d bytes", name, s.frames.bytes)
		}
		sum += s.frames.bytes
	}
	if sum > 2000 || sum != h.frameBytes {
		t.Errorf("%d bytes in all, counted %d", sum, h.frameBytes)
	}
	if testutil.ToFloat64(h.metrics.drops.WithLabelValues(reasonFrameRoom)) == 0 {
		t.Error("refused frames are not counted")
	}
	// The frames kept are those whose scenes come next.
	v := h.viewer(t, "a")
	h.addScene(scene("a", "s", 1, false), false)
	wantScene(t, v, taken{Session: "s", Seq: 1, Picture: true})
	// A new session is not kept out by what an old one left behind.
	id := flow.FrameID{Source: "a", Session: "t", Seq: 1}
	h.addFrame(id, raw(t, id, 800))
	if frames := h.sources["a"].frames.frames; len(frames) != 1 || frames[0].id != id {
		t.Errorf("%d frames kept", len(frames))
	}
}

func TestSourcesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := testHub(nil) // four
		watcher := h.viewer(t, "a")
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			h.addScene(scene(name, name, 1, false), false)
			time.Sleep(time.Millisecond)
		}
		if _, known, names := h.newest("e", nil); known || len(names) != 4 {
			t.Errorf("known now: %v", names)
		}
		if n := testutil.ToFloat64(h.metrics.refused.WithLabelValues(doorScenes, reasonFull)); n != 1 {
			t.Errorf("refused %v, want 1", n)
		}
		time.Sleep(goneAfter)
		h.addScene(scene("e", "e", 1, false), false) // "a" is silent longest, but watched
		if _, _, names := h.newest("none", nil); !slices.Equal(names, []string{"a", "c", "d", "e"}) {
			t.Errorf("known now: %v", names)
		}
		wantScene(t, watcher, taken{Session: "a", Seq: 1})
	})
}

func TestViewersAreBounded(t *testing.T) {
	t.Parallel()
	h := testHub(func(c *Config) { c.MaxViewers = 1 })
	v := h.viewer(t, "a")
	if h.join(newViewer(nil, 0)) {
		t.Error("a second viewer joined")
	}
	h.leave(v)
	h.viewer(t, "a")
}

func TestStates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := testHub(nil)
		var looked []string
		h.refresh = func(source string) { looked = append(looked, source) }
		say := func(session string, state flow.State) {
			h.addAlive(flow.Alive{Stage: "producer", Instance: session, Sources: []flow.SourceStatus{{Source: "a", Session: session, Mode: flow.ModeLossless, State: state}}})
		}
		want := func(session string, state flow.State) {
			t.Helper()
			info := h.currentStatus().Sources[0]
			if info.Session != session || info.State != state {
				t.Errorf("%s %s, want %s %s", info.Session, info.State, session, state)
			}
		}
		say("one", flow.StateRunning)
		want("one", flow.StateRunning)
		time.Sleep(goneAfter)
		want("one", api.StateGone)
		say("one", flow.StateComplete)
		want("one", flow.StateComplete)
		if !slices.Equal(looked, []string{"a"}) {
			t.Errorf("looked up %v: the last scene may have been missed", looked)
		}
		say("two", flow.StateRunning) // the old producer goes on telling of its end
		say("one", flow.StateComplete)
		want("two", flow.StateRunning)
		say("two", flow.StateComplete)
		time.Sleep(time.Hour)
		want("two", flow.StateComplete) // an end stays
	})
}

// A producer with many sources tells of those that change, and of the others in turn: a row stays while its producer is alive.
func TestRowsThatAreNotToldOf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := testHub(func(c *Config) { c.MaxSources = 2 })
		say := func(sources ...string) {
			alive := flow.Alive{Stage: "producer", Instance: "p", SourceCount: 2}
			for _, source := range sources {
				alive.Sources = append(alive.Sources, flow.SourceStatus{Source: source, Session: "s", Mode: flow.ModeLossless, State: flow.StateRunning})
			}
			h.addAlive(alive)
		}
		states := func() (text string) {
			for _, s := range h.currentStatus().Sources {
				text += s.Source + " " + string(s.State) + " "
			}
			return text
		}
		say("a", "b")
		for second := range 29 {
			time.Sleep(time.Second)
			h.tick()
			say("b")
			if got := states(); got != "a running b running " {
				t.Fatalf("after %d s: %s", second+1, got)
			}
			h.addScene(scene("c", "s", 1, false), false) // makes neither go
		}
		time.Sleep(time.Second)
		say("b") // and not of a for 30 s
		if got := states(); got != "a gone b running " {
			t.Errorf("not told of for 30 s: %s", got)
		}
		say("a")
		time.Sleep(goneAfter)
		if got := states(); got != "a gone b gone " {
			t.Errorf("a producer that is gone: %s", got)
		}
	})
}

// A film whose frames wait says so.
func TestWaitingRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := testHub(nil)
		say := func(complete, inFlight uint64) string {
			h.addAlive(flow.Alive{Stage: "producer", Instance: "p", Sources: []flow.SourceStatus{{
				Source: "film", Session: "s", Mode: flow.ModeLossless, State: flow.StateRunning, Account: flow.Account{Complete: complete, InFlight: inFlight},
			}}})
			return h.currentStatus().Sources[0].Waiting
		}
		for _, step := range []struct {
			complete, inFlight uint64
			after              time.Duration
			want               string
		}{
			{0, 32, 0, ""},
			{0, 32, 9 * time.Second, ""},
			{0, 32, time.Second, "32 frames wait, no scene for 10s"},
			{0, 32, 4 * time.Second, "32 frames wait, no scene for 14s"},
			{1, 31, time.Second, ""},
			{1, 0, time.Hour, ""},
		} {
			time.Sleep(step.after)
			if got := say(step.complete, step.inFlight); got != step.want {
				t.Errorf("%+v: %q", step, got)
			}
		}
	})
}

// BenchmarkFanOut is what one scene costs before it is written: a slot per viewer. All viewers take it.
func BenchmarkFanOut(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("viewers=%d", n), func(b *testing.B) {
			h := testHub(nil)
			viewers := make([]*viewer, n)
			for i := range viewers {
				viewers[i] = h.viewer(b, "a")
				viewers[i].take(time.Now())
			}
			s := scene("a", "s", 0, true)
			b.ReportAllocs()
			for b.Loop() {
				next := *s
				s = &next
				s.Seq++
				h.addScene(s, false)
				for _, v := range viewers {
					if _, ok := v.take(time.Now()); !ok {
						b.Fatal("nothing to take")
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/viewer")
		})
	}
}

// A frame whose scene does not come is given up: it keeps no room from others.
func TestFramesAgeOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := testHub(nil)
		old, young := flow.FrameID{Source: "a", Session: "s", Seq: 1}, flow.FrameID{Source: "a", Session: "s", Seq: 2}
		h.addFrame(old, raw(t, old, 500))
		time.Sleep(frameKeep / 2)
		h.addFrame(young, raw(t, young, 100))
		time.Sleep(frameKeep/2 + time.Second)
		h.tick()
		if frames := h.sources["a"].frames.frames; len(frames) != 1 || frames[0].id != young || h.frameBytes != frames[0].size {
			t.Errorf("%d frames are kept, %d bytes", len(frames), h.frameBytes)
		}
	})
}

// A picture that comes after its scene is shown all the same.
func TestPictureAfterItsScene(t *testing.T) {
	t.Parallel()
	h := testHub(nil)
	v := h.viewer(t, "a")
	h.addScene(scene("a", "s", 2, true), false)
	wantScene(t, v, taken{Session: "s", Seq: 2, Depth: 2})
	for _, seq := range []uint64{1, 2, 2} {
		id := flow.FrameID{Source: "a", Session: "s", Seq: seq}
		h.addFrame(id, raw(t, id, 10))
	}
	wantScene(t, v, taken{Session: "s", Seq: 2, Picture: true})
	wantNothing(t, v)
	wantScene(t, h.viewer(t, "a"), taken{Session: "s", Seq: 2, Depth: 2, Picture: true})
}

// A size is made once for all who want it.
func TestSizesAreMadeOnce(t *testing.T) {
	t.Parallel()
	var s sizes[int]
	var made atomic.Int32
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			width := 160 << (i % 2)
			if got := s.at(width, func() int { made.Add(1); return width }); got != width {
				t.Errorf("%d for %d", got, width)
			}
		})
	}
	all.Wait()
	if made.Load() != 2 {
		t.Errorf("made %d times, want once for each of two", made.Load())
	}
}

// A depth map is made a picture once for all who ask for it, and waits for its turn.
func TestDepthIsDrawnOnce(t *testing.T) {
	t.Parallel()
	values := make([]float32, 64*48)
	for i := range values {
		values[i] = float32(i)
	}
	var packer depthmap.Packer
	packed, err := packer.Pack(values, 64, 48, depthmap.Metric, 16)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{drawing: make(chan struct{}, 1)}
	p := parcel{scene: newShown(scene("cam1", "s", 1, false)), depth: newDepthMap(packed, nil, "s", 1)}
	s.drawing <- struct{}{} // another's turn
	made := make(chan []byte)
	for range 2 {
		go func() {
			png, _, err := s.viewOf(p).Depth()
			if err != nil {
				t.Error(err)
			}
			made <- png
		}()
	}
	select {
	case <-made:
		t.Error("made beside another")
	case <-time.After(20 * time.Millisecond):
	}
	<-s.drawing
	if a, b := <-made, <-made; len(a) == 0 || &a[0] != &b[0] {
		t.Error("made twice")
	}
}

// A viewer that may have some bytes a second gets as many scenes as that makes, the newest of each source, after a second's worth at once;
// what is overtaken meanwhile is dropped and counted.
func TestViewersBytesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := testHub(nil)
		v := h.viewer(t, "a", "b")
		v.bytes = 100_000
		got := map[string]int{}
		seq, last := uint64(0), uint64(0)
		for range 100 { // 10 s, in which each source has 10 scenes a second of 25,000 bytes
			seq++
			h.addScene(scene("a", "s", seq, false), false)
			h.addScene(scene("b", "s", seq, false), false)
			for {
				p, ok := v.take(time.Now())
				if !ok {
					if p.due.IsZero() || time.Until(p.due) <= 0 || time.Until(p.due) > time.Second {
						t.Fatalf("it waits until %v, now is %v", p.due, time.Now())
					}
					break
				}
				if p.scene == nil {
					continue
				}
				if p.scene.scene.Seq != seq {
					t.Fatalf("scene %d comes when %d is the newest", p.scene.scene.Seq, seq)
				}
				got[p.scene.scene.Source]++
				last = p.dropped
				v.spend(25_000, time.Now())
				if len(v.queue) == 0 {
					break
				}
			}
			time.Sleep(100 * time.Millisecond)
		}
		if all := got["a"] + got["b"]; all < 40 || all > 46 || got["a"] < 18 || got["b"] < 18 || last < 140 {
			t.Errorf("%v scenes and %d dropped, want 44 of 200 in all", got, last)
		}
		v.bytes = 0
		if v.spend(1<<30, time.Now()) != 0 {
			t.Error("a viewer without a limit has one")
		}
	})
}
