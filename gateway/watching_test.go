package gateway_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/gateway"
)

// large is a picture of noise, about so many bytes.
func large(t testing.TB, width, height, bytesOf int) []byte {
	t.Helper()
	img, noise := image.NewGray(image.Rect(0, 0, width, height)), rand.New(rand.NewPCG(1, 2))
	for i := range img.Pix {
		img.Pix[i] = byte(noise.Uint32())
	}
	for quality := 95; ; quality -= 5 {
		var out bytes.Buffer
		if err := jpeg.Encode(&out, img, &jpeg.Options{Quality: quality}); err != nil {
			t.Fatal(err)
		}
		if out.Len() <= bytesOf || quality < 10 {
			return out.Bytes()
		}
	}
}

// publishLarge sends a frame with a picture, its scene, and a depth map of so many columns through.
func (b bench) publishLarge(t testing.TB, source string, seq uint64, picture []byte, width, height, columns int) {
	t.Helper()
	frame, scene := newFrame(t, source, "s", seq), newScene(t, source, "s", seq)
	frame.Picture, frame.Width, frame.Height = picture, width, height
	scene.Width, scene.Height, scene.Depth = width, height, depthMap(t, columns, columns/2, depthmap.InverseRelative)
	b.publishFrame(t, frame)
	b.publishScene(t, scene)
}

// Frames come of the sources that are watched, in both modes, and of no others; nor do the scenes of other gateways' pictures.
func TestFramesOfWatchedSourcesOnly(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	c := r.watch("film")
	for seq := uint64(1); seq <= 3; seq++ {
		b.publishFrame(t, newFrame(t, "other", "s", seq))
		camera := newFrame(t, "camera", "s", seq)
		camera.Mode = flow.ModeLive
		b.acceptLive(t, camera)
	}
	if err := b.bus.Conn().Publish("scenes.live.0.predict-ofanother", []byte("whatever it says")); err != nil {
		t.Fatal(err)
	}
	b.publish(t, "film", "s", 1)
	if m := c.scene(); !bytes.Equal(m.picture, picture(t, 1)) {
		t.Errorf("%d bytes of picture", len(m.picture))
	}
	_, _, body := r.get("/api/v1/sources")
	var status api.Status
	if err := json.Unmarshal([]byte(body), &status); err != nil || len(status.Sources) != 1 {
		t.Errorf("the gateway heard of frames that nobody watches: %s", body)
	}
	if n := r.metric("spatialflow_refused_total"); n != 0 {
		t.Errorf("%v messages were looked at that are of no concern here", n)
	}
}

// A gateway beside its producers has the newest picture for whoever comes later, also when the film has ended.
func TestNewestPictureOfAllFrames(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, func(c *gateway.Config) { c.Live.AllFrames = true })
	b.publish(t, "film", "s", 1)
	b.work(t)
	r.eventually("the scene", func() bool { code, _, _ := r.get("/api/v1/sources/film/scene"); return code == 200 })
	c := r.dial()
	c.watch("film")
	if m := c.scene(); !bytes.Equal(m.picture, picture(t, 1)) {
		t.Errorf("%d bytes of picture", len(m.picture))
	}
}

// Who begins to watch a film gets the pictures of the frames that are under way.
func TestPicturesOfFramesUnderWay(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	const frames = 10
	for seq := uint64(1); seq <= frames; seq++ {
		b.publishFrame(t, newFrame(t, "film", "s", seq)) // nobody watches
	}
	c := r.watch("film")
	pictures := 0
	for seq := uint64(1); seq <= frames; seq++ {
		b.publishScene(t, newScene(t, "film", "s", seq))
		m := c.scene()
		for m.header.Frame.Seq < seq || len(m.picture) == 0 { // it may come a moment after the scene
			m = c.scene()
		}
		if bytes.Equal(m.picture, picture(t, seq)) {
			pictures++
		}
	}
	if pictures != frames {
		t.Errorf("%d of %d pictures", pictures, frames)
	}
}

// A viewer is told of the sources that it watches, and of the others that they are there.
func TestStatusIsOfWhatIsWatched(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	for _, name := range []string{"a", "b", "c"} {
		b.publish(t, name, "s", 1)
	}
	r.eventually("three sources", func() bool { _, _, body := r.get("/api/v1/sources"); return strings.Count(body, `"source"`) == 3 })
	c := r.dial()
	c.watch("b", "none")
	told := c.status(func(api.Status) bool { return true })
	if len(told.Sources) != 1 || told.Sources[0].Source != "b" || len(told.Known) != 3 || told.MaxWatched != 20 {
		t.Errorf("told %+v", told)
	}
	c.watch("a")
	told = c.status(func(s api.Status) bool { return len(s.Sources) == 1 && s.Sources[0].Source == "a" })
	if told.Known != nil {
		t.Errorf("told again what is known: %+v", told.Known)
	}
	b.publish(t, "d", "s", 1)
	told = c.status(func(s api.Status) bool { return s.Known != nil })
	if !slices.ContainsFunc(told.Known, func(s api.KnownSource) bool { return s.Source == "d" && s.State == flow.StateRunning }) || len(told.Sources) != 1 {
		t.Errorf("told %+v", told)
	}
}

// A viewer gets pictures as it wants them.
func TestViewerSaysWhatItWants(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	whole := large(t, 800, 400, 400_000)
	for _, test := range []struct {
		wants         string
		width, depth  int
		wantsNoDepth  bool
		wantsAllParts int
	}{
		{`"max_width":5000`, 800, 200, false, 0},
		{`"max_width":700`, 640, 200, false, 0},
		{`"max_width":160,"part_bytes":1024`, 160, 100, false, 1024},
		{`"depth":false,"max_fps":50`, 800, 0, true, 0},
	} {
		source := fmt.Sprintf("cam%d%d", test.width, test.depth)
		c := r.dial()
		c.write(fmt.Appendf(nil, `{"sources":[%q],%s}`, source, test.wants))
		c.status(func(api.Status) bool { return true })
		b.publishLarge(t, source, 1, whole, 800, 400, 200)
		m := c.whole(test.wantsAllParts)
		config, err := jpeg.DecodeConfig(bytes.NewReader(m.picture))
		if err != nil || config.Width != test.width || config.Height != test.width/2 {
			t.Errorf("%s: a picture of %dx%d: %v", test.wants, config.Width, config.Height, err)
		}
		if d := m.header.Depth; test.wantsNoDepth != (d == nil) || d != nil && d.Width != test.depth {
			t.Errorf("%s: depth %+v", test.wants, d)
		}
		if m.header.Size[0] != 800 || m.header.Detections[0].Box != [4]float32{8, 8, 40, 40} {
			t.Errorf("%s: the scene is of another size: %v %v", test.wants, m.header.Size, m.header.Detections)
		}
	}
}

// whole is the next scene, in messages of at most so many bytes; 0: in one.
func (c client) whole(most int) message {
	c.t.Helper()
	var data []byte
	for {
		kind, part, err := c.read()
		if err != nil {
			c.t.Fatal(err)
		}
		if kind == websocket.MessageText {
			continue
		}
		if most > 0 && len(part) > most {
			c.t.Fatalf("a part of %d bytes, want at most %d", len(part), most)
		}
		data = append(data, part...)
		if m, ok := parseWhole(data); ok {
			return m
		}
	}
}

// parseWhole takes a scene apart once all of it is there.
func parseWhole(data []byte) (m message, ok bool) {
	if len(data) < 4 || len(data) < 4+int(binary.LittleEndian.Uint32(data)) {
		return m, false
	}
	n := 4 + int(binary.LittleEndian.Uint32(data))
	if json.Unmarshal(data[4:n], &m.header) != nil {
		return m, false
	}
	depth := 0
	if m.header.Depth != nil {
		depth = m.header.Depth.Bytes
	}
	if len(data) != n+m.header.PictureBytes+depth {
		return m, false
	}
	m.picture, m.depth = data[n:n+m.header.PictureBytes], data[n+m.header.PictureBytes:]
	return m, true
}

// slowLink is an address that leads to the gateway, over a link of so many bytes a second.
func (r *runner) slowLink(bytesPerSecond int) string {
	r.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", r.address)
			if err != nil {
				_ = near.Close()
				return
			}
			_ = far.(*net.TCPConn).SetReadBuffer(16 << 10) // what waits on the link
			go func() {
				_, _ = io.Copy(far, near)
				_ = far.Close()
			}()
			go func() {
				defer near.Close()
				for last := time.Now(); ; {
					time.Sleep(20 * time.Millisecond)
					now := time.Now()
					if _, err := io.CopyN(near, far, int64(float64(bytesPerSecond)*min(now.Sub(last).Seconds(), 0.2))); err != nil {
						return
					}
					last = now
				}
			}()
		}
	}()
	return listener.Addr().String()
}

// Over a slow link the page sees that something comes, and gets smaller pictures instead of connecting again for ever.
func TestPageOverASlowLink(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, func(c *gateway.Config) { c.Live.WriteTimeout = 4 * time.Second })
	slow := r.slowLink(330_000)
	picture := large(t, 1920, 1080, 2_000_000) // takes 6 s
	page := newBrowser(t)
	page.open("http://" + slow + "/#cam1")
	page.await(`document.body.dataset.connection === "open"`)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for seq := uint64(1); ; seq++ {
			b.publishLarge(t, "cam1", seq, picture, 1920, 1080, 518)
			select {
			case <-stop:
				return
			case <-time.After(500 * time.Millisecond):
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	page.awaitWithin(4*patience, `document.body.dataset.picture === "shown"`)
	page.awaitWithin(4*patience, `view.width <= 640 && document.body.dataset.adapted && Number(document.body.dataset.adapted) <= 640`)
	if n := r.metric("spatialflow_viewer_drops_total", "reason", "timeout"); n != 0 {
		t.Errorf("%v scenes were given up", n)
	}
	if text := ask[string](page, `document.getElementById("connection").textContent`); !strings.Contains(text, "slow link") {
		t.Errorf("the page says %q", text)
	}
	page.quiet()
}
