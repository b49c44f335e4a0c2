package gateway_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/gateway"
	"github.com/spatial-flow/spatial-flow/gateway/live"
	"github.com/spatial-flow/spatial-flow/gateway/predict"
)

func TestScenesComeWithTheirOwnPictures(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	c := r.watch("cam1")
	// All frames are admitted before the first scene is there, as in a pipeline that is busy.
	const frames = 20
	for seq := uint64(1); seq <= frames; seq++ {
		b.publishFrame(t, newFrame(t, "cam1", "s", seq))
		b.publishFrame(t, newFrame(t, "cam2", "s", seq))
	}
	var unpacker depthmap.Unpacker
	for seq := uint64(1); seq <= frames; seq++ {
		sent := newScene(t, "cam1", "s", seq)
		b.publishScene(t, sent)
		m := c.scene()
		if m.header.Frame.String() != sent.ID().String() || !bytes.Equal(m.picture, picture(t, seq)) {
			t.Fatalf("scene %d: got %v with %d bytes of picture", seq, m.header.Frame, len(m.picture))
		}
		if diff := cmp.Diff(sent.JSON(), m.header.Scene); diff != "" {
			t.Fatalf("header differs (-sent +got):\n%s", diff)
		}
		d := m.header.Depth
		if d == nil || !bytes.Equal(m.depth, sent.Depth.Data) || d.Seq != seq || d.Range == nil || *d.Range != *sent.Range {
			t.Fatalf("scene %d: depth %+v", seq, d)
		}
		got := d.Map
		got.Data = m.depth
		if _, err := unpacker.Unpack(&got); err != nil {
			t.Fatal(err)
		}
		if m.header.LatencyMS == nil || m.header.Dropped != 0 {
			t.Fatalf("latency %v, dropped %d", m.header.LatencyMS, m.header.Dropped)
		}
	}
	r.eventually("count of all scenes", func() bool { // the viewer may have the last one before it is counted
		return r.metric("spatialflow_viewer_scenes_total") == frames &&
			r.metric("spatialflow_end_to_end_seconds", "to", "viewer") == frames
	})
	if n := r.metric("spatialflow_viewers"); n != 1 {
		t.Errorf("spatialflow_viewers %v, want 1", n)
	}
}

func TestLateViewerGetsNewestScene(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	r.watch("cam1")
	for seq := uint64(1); seq <= 3; seq++ {
		b.publish(t, "cam1", "s", seq)
	}
	r.eventually("scene 3", func() bool {
		_, _, body := r.get("/api/v1/sources/cam1/scene")
		return strings.Contains(body, `"seq":3`)
	})
	for _, sources := range [][]string{{"cam1"}, {}} { // by name, and all
		m := r.watch(sources...).scene()
		if m.header.Frame.Seq != 3 || !bytes.Equal(m.picture, picture(t, 3)) || m.header.Depth == nil || m.header.LatencyMS != nil {
			t.Errorf("watching %v: %+v with %d bytes of picture", sources, m.header, len(m.picture))
		}
	}
}

func TestRestartedGatewayShowsStoredScene(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	b.publish(t, "cam1", "s1", 7)
	b.publish(t, "cam1", "s2", 2)
	if err := b.bus.SetPosition(t.Context(), "cam1", "s2", flow.Position{Seq: 2}); err != nil {
		t.Fatal(err)
	}
	b.work(t)
	c := r.watch("cam1")
	r.cancel()
	if code, _ := c.closed(); code != websocket.StatusServiceRestart {
		t.Errorf("closed with %v, want %v", code, websocket.StatusServiceRestart)
	}
	r.stop()
	if r.health.Ready() {
		t.Error("ready after the stop")
	}
	r = b.startReady(t, nil)
	m := r.watch("cam1").scene()
	if m.header.Frame != (api.Frame{Source: "cam1", Session: "s2", Seq: 2}) || len(m.picture) != 0 || m.header.Depth == nil {
		t.Errorf("after the restart: %+v", m.header)
	}
}

// A gateway that has room for a few sources shows those that were heard of last, whatever else was ever there.
func TestStartedGatewayShowsTheNewestSources(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	const sources = 40
	for n := range sources {
		source := fmt.Sprintf("clip%02d", n)
		b.publishScene(t, newScene(t, source, "s", 1))
		if err := b.bus.SetPosition(t.Context(), source, "s", flow.Position{Seq: 1}); err != nil {
			t.Fatal(err)
		}
	}
	r := b.startReady(t, func(c *gateway.Config) { c.Live.MaxSources = 3 })
	var names []string
	r.eventually("three sources", func() bool {
		_, _, body := r.get("/api/v1/sources")
		var status api.Status
		if err := json.Unmarshal([]byte(body), &status); err != nil {
			t.Fatal(err)
		}
		names = nil
		for _, s := range status.Sources {
			names = append(names, s.Source)
		}
		return len(names) == 3
	})
	if got := fmt.Sprint(names); got != "[clip37 clip38 clip39]" {
		t.Errorf("shown are %s", got)
	}
}

// What comes late or twice never takes a viewer back.
func TestScenesNeverGoBackwards(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	c := r.watch("cam1")
	encoded := map[uint64][]byte{}
	for seq := uint64(1); seq <= 5; seq++ {
		data, err := flow.Encode(nil, newScene(t, "cam1", "s", seq))
		if err != nil {
			t.Fatal(err)
		}
		encoded[seq] = data
	}
	last := uint64(0)
	for _, seq := range []uint64{1, 1, 3, 2, 3, 1, 4, 2, 5} {
		if err := b.bus.Conn().Publish(flow.SceneSubject(flow.ModeLive, 0, flow.FrameID{Source: "cam1"}), encoded[seq]); err != nil {
			t.Fatal(err)
		}
	}
	for last < 5 {
		m := c.scene()
		if m.header.Frame.Seq <= last {
			t.Fatalf("scene %d after %d", m.header.Frame.Seq, last)
		}
		last = m.header.Frame.Seq
	}
}

func TestBadMessagesAreCounted(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	r.watch("cam1")
	bad := newScene(t, "cam1", "s", 1)
	bad.Outcome = "maybe"
	invalid, err := flow.Encode(nil, bad)
	if err != nil {
		t.Fatal(err)
	}
	later := newScene(t, "cam2", "s", 1)
	later.Version = flow.Wire + 1
	newer, err := flow.Encode(nil, later)
	if err != nil {
		t.Fatal(err)
	}
	for subject, payload := range map[string][]byte{
		"scenes.live.0.cam2":         newer,
		"scenes.live.0.a":            []byte("\x81\xa1\x7a\xdd\xff\xff\xff\xff"),
		"scenes.live.0.cam1":         invalid,
		"accepted.lossless.x.y.cam1": []byte("no message ID"),
		"alive.producer.p":           []byte("{"),
	} {
		if err := b.bus.Conn().Publish(subject, payload); err != nil {
			t.Fatal(err)
		}
	}
	for door, want := range map[string]float64{"scenes": 2, "frames": 1, "alive": 1} {
		r.eventually("refusals of "+door, func() bool {
			return r.metric("spatialflow_refused_total", "door", door, "reason", "malformed") == want
		})
	}
	r.eventually("a newer gateway", func() bool {
		_, _, body := r.get("/api/v1/status")
		return r.metric("spatialflow_refused_total", "reason", "newer") == 1 && strings.Contains(body, `"note":"needs a newer gateway`)
	})
}

func TestFirstMessage(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, func(c *gateway.Config) { c.Live.WatchWithin, c.Live.MaxWatched = 2*time.Second, 3 })
	for name, first := range map[string]string{
		"no JSON":    "hello",
		"no list":    `{}`,
		"wrong kind": `{"sources":"cam1"}`,
		"unknown":    `{"sources":[],"more":1}`,
		"two":        `{"sources":[]}{"sources":[]}`,
		"bad name":   `{"sources":["cam 1"]}`,
		"too many":   `{"sources":["a","b","c","d"]}`,
	} {
		c := r.dial()
		c.write([]byte(first))
		if code, reason := c.closed(); code != websocket.StatusPolicyViolation || !strings.Contains(reason, live.ErrWatch.Error()) {
			t.Errorf("%s: closed with %v %q", name, code, reason)
		}
	}
	if code, reason := r.dial().closed(); code != websocket.StatusPolicyViolation || !strings.Contains(reason, live.ErrNoWatch.Error()) {
		t.Errorf("silence: closed with %v %q", code, reason)
	}
	c := r.dial()
	c.write([]byte(`{"sources":["` + strings.Repeat("a", live.MaxWatchBytes) + `"]}`))
	if code, _ := c.closed(); code != websocket.StatusMessageTooBig {
		t.Errorf("too long: closed with %v", code)
	}
	r.eventually("leaving", func() bool { return r.metric("spatialflow_viewers") == 0 })
	if n := r.metric("spatialflow_refused_total", "door", "ws"); n != 8 {
		t.Errorf("spatialflow_refused_total of ws %v, want 8", n)
	}
}

func TestViewerChangesSources(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	c := r.watch("cam1")
	b.publish(t, "cam1", "s", 1)
	if m := c.scene(); m.header.Frame.Source != "cam1" {
		t.Fatalf("got %v", m.header.Frame)
	}
	c.watch("cam2")
	c.status(func(s api.Status) bool { return len(s.Sources) == 0 }) // it is not known yet
	b.publish(t, "cam2", "t", 1)
	if m := c.scene(); m.header.Frame.Source != "cam2" {
		t.Fatalf("got %v", m.header.Frame)
	}
	b.publish(t, "cam1", "s", 2)
	b.publish(t, "cam2", "t", 3)
	if m := c.scene(); m.header.Frame.Source != "cam2" || m.header.Frame.Seq != 3 {
		t.Fatalf("got %v", m.header.Frame)
	}
}

func TestSlowViewerIsDisconnectedAndHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, func(c *gateway.Config) { c.Live.WriteTimeout = 3 * time.Second })
	r.watch("cam1") // and never reads again
	quick := r.watch("cam1")
	big := newFrame(t, "cam1", "s", 1)
	big.Picture = append(big.Picture, make([]byte, 2<<20)...)
	for seq := uint64(1); r.metric("spatialflow_viewers") > 1; seq++ {
		big.Seq = seq
		b.publishFrame(t, big)
		b.publishScene(t, newScene(t, "cam1", "s", seq))
		if m := quick.scene(); m.header.Frame.Seq != seq || m.header.Dropped != 0 {
			t.Fatalf("quick viewer: %+v, want scene %d", m.header, seq)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if r.metric("spatialflow_viewer_drops_total", "reason", "timeout") != 1 {
		t.Error("the scene it was disconnected at is not counted")
	}
}

func TestViewerThatAnswersNoPingIsDisconnected(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, func(c *gateway.Config) {
		c.Live.PingEvery, c.Live.WriteTimeout = 50*time.Millisecond, 200*time.Millisecond
	})
	r.watch("cam1") // only reading answers pings
	r.eventually("leaving", func() bool { return r.metric("spatialflow_viewers") == 0 })
}

func TestStatusFollowsProducers(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	c := r.watch("clip")
	b.publish(t, "clip", "s", 1)
	say := func(state flow.State, reason string) {
		t.Helper()
		alive := flow.Alive{Stage: "producer", Instance: "p", Sources: []flow.SourceStatus{{
			Source: "clip", Session: "s", Mode: flow.ModeLossless, State: state, Reason: reason, Frames: 9,
			Account: flow.Account{Captured: 1, Admitted: 1, Complete: 1},
		}}}
		if err := b.bus.PublishAlive(alive); err != nil {
			t.Fatal(err)
		}
	}
	state := func(want flow.State) api.Source {
		t.Helper()
		var info api.Source
		c.status(func(s api.Status) bool {
			if len(s.Sources) == 1 {
				info = s.Sources[0]
			}
			return info.State == want
		})
		return info
	}
	if info := state(flow.StateRunning); info.Account != nil || info.Seq != 1 {
		t.Errorf("without a producer: %+v", info)
	}
	say(flow.StateRunning, "")
	say(flow.StateFailed, "the file ends in the middle of a frame")
	info := state(flow.StateFailed)
	want := api.Source{
		Source: "clip", Mode: flow.ModeLossless, State: flow.StateFailed, Reason: "the file ends in the middle of a frame",
		Session: "s", Seq: 1, Frames: 9, Account: &flow.Account{Captured: 1, Admitted: 1, Complete: 1}, ScenesPerSecond: info.ScenesPerSecond,
	}
	if diff := cmp.Diff(want, info); diff != "" {
		t.Errorf("status differs (-want +got):\n%s", diff)
	}
	say(flow.StateRunning, "")
	state(flow.StateRunning)
	state(api.StateGone) // nothing is said for 3 s
}

func TestLiveFramesOfWatchedSources(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	c := r.watch("cam1")
	frame, scene := newFrame(t, "cam1", "s", 1), newScene(t, "cam1", "s", 1)
	frame.Mode, scene.Mode = flow.ModeLive, flow.ModeLive
	data, err := flow.Encode(nil, scene)
	if err != nil {
		t.Fatal(err)
	}
	for { // until the subscription stands
		b.acceptLive(t, frame)
		if err := b.bus.Conn().Publish(flow.SceneSubject(flow.ModeLive, scene.Place(), scene.ID()), data); err != nil {
			t.Fatal(err)
		}
		if m := c.scene(); bytes.Equal(m.picture, frame.Picture) {
			return
		}
		frame.Seq++
		scene.Seq++
		if data, err = flow.Encode(nil, scene); err != nil {
			t.Fatal(err)
		}
	}
}

// A picture finds its scene whatever number of groups its producer knows, and whichever copy of its frame was stored.
func TestPicturesOfOlderProducers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.provision(t, flow.Group{Name: "pose", Slot: 3, Need: flow.NeedOptional})
	r := b.startReady(t, nil)
	c := r.watch("clip")
	for seq := uint64(1); seq <= 3; seq++ {
		f := newFrame(t, "clip", "s", seq)
		f.Copy = int(seq - 1)
		b.publishFrame(t, f) // as of a producer that knows two groups
		b.publishScene(t, newScene(t, "clip", "s", seq))
		if m := c.scene(); m.header.Frame.Seq != seq || !bytes.Equal(m.picture, f.Picture) {
			t.Errorf("scene %s comes with %d bytes of picture, want %d", m.header.Frame, len(m.picture), len(f.Picture))
		}
	}
}

// The deployment is followed: a group that is added is on the status page at once.
func TestGroupIsAdded(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	groups := func() string { _, _, body := r.get("/api/v1/status"); return body }
	if body := groups(); strings.Contains(body, `"group":"pose"`) {
		t.Fatalf("%s", body)
	}
	b.provision(t, flow.Group{Name: "pose", Slot: 3, Need: flow.NeedOptional})
	r.eventually("the group", func() bool { return strings.Contains(groups(), `"group":"pose"`) })
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	for _, change := range []func(*gateway.Config){
		func(c *gateway.Config) { c.Live.MaxViewers = 0 },
		func(c *gateway.Config) { c.Live.Queue = -1 },
		func(c *gateway.Config) { c.Live.PingEvery = 0 },
		func(c *gateway.Config) { c.Predict.Inflight = 0 },
		func(c *gateway.Config) { c.Origins = []string{"[a"} },
		func(c *gateway.Config) { c.HTTP = ":8000" },
		func(c *gateway.Config) { c.Access.Anonymous = []string{"veiw"} },
	} {
		cfg := gateway.Config{
			Reached: gateway.Reached{HTTP: "127.0.0.1:0"},
			Live: live.Config{
				MaxViewers: 1, MaxWatched: 1, MaxSources: 1, FrameBytes: 1, TotalFrameBytes: 1, Queue: 1,
				WatchWithin: 1, WriteTimeout: 1, PingEvery: 1,
			},
			Predict: predict.Config{Inflight: 1, Queue: 1, MaxPixels: 1},
		}
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		change(&cfg)
		if err := cfg.Validate(); !errors.Is(err, gateway.ErrConfig) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

// A viewer that is always behind, with a scene waiting whenever it has taken one, is told the status all the same.
func TestSlowViewerIsToldTheStatus(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	names := []string{"cam1", "cam2", "cam3", "cam4", "cam5", "cam6"}
	c := r.watch(names...)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for seq := uint64(1); ; seq++ {
			frame := newFrame(t, names[seq%6], "s", seq)
			frame.Picture = append(frame.Picture, make([]byte, 1_000_000)...)
			b.publishFrame(t, frame)
			b.publishScene(t, newScene(t, names[seq%6], "s", seq))
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	statuses, scenes := 0, 0
	for statuses < 3 && scenes < 60 { // of which five or so come between two statuses, which are due every second
		kind, _, err := c.read()
		if err != nil {
			t.Fatal(err)
		}
		if kind == websocket.MessageText {
			statuses++
			continue
		}
		scenes++
		time.Sleep(200 * time.Millisecond) // a slow line
	}
	if statuses < 3 {
		t.Errorf("%d statuses beside %d scenes, want one every few", statuses, scenes)
	}
}
