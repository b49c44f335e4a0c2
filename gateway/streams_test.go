package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/gateway"
)

// keepPublishing publishes frames of a source with their scenes, from 1 on, until the test ends.
func (b bench) keepPublishing(t *testing.T, source string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var task sync.WaitGroup
	task.Go(func() {
		for seq := uint64(1); ; seq++ {
			err := b.bus.PublishFrame(ctx, flow.DefaultGroups(), newFrame(t, source, "s", seq))
			if err == nil {
				err = b.bus.PublishScene(ctx, newScene(t, source, "s", seq))
			}
			if err != nil && ctx.Err() == nil {
				t.Errorf("publish %s %d: %v", source, seq, err)
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	t.Cleanup(func() { stop(); task.Wait() })
}

// open begins a GET whose answer goes on.
func (r *runner) open(path string, header ...string) *http.Response {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://"+r.address+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { response.Body.Close() })
	return response
}

// The newest picture, with and without its boxes, and the newest depth map.
func TestStills(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	b.keepPublishing(t, "cam1")
	r.eventually("cam1", func() bool { code, _, _ := r.get("/api/v1/sources/cam1/scene"); return code == 200 })
	pictures := map[string][]byte{}
	for _, query := range []string{"", "?overlay=1", "?overlay=false&max_width=160"} {
		code, header, data := r.deliver("GET", "/api/v1/sources/cam1/picture.jpg"+query, "", nil)
		img, err := jpeg.Decode(bytes.NewReader(data))
		if err != nil || code != 200 || img.Bounds().Size() != image.Pt(64, 48) || header.Get("Content-Type") != "image/jpeg" || !strings.HasPrefix(header.Get("Spatialflow-Frame"), "cam1/s/") {
			t.Fatalf("%q: %d %v, %v", query, code, header, err)
		}
		pictures[query] = data
	}
	var seq uint64
	if _, header, data := r.deliver("GET", "/api/v1/sources/cam1/picture.jpg", "", nil); true {
		if _, err := fmt.Sscanf(header.Get("Spatialflow-Frame"), "cam1/s/%d", &seq); err != nil || !bytes.Equal(data, picture(t, seq)) {
			t.Errorf("%s is another picture, %v", header.Get("Spatialflow-Frame"), err)
		}
	}
	code, header, data := r.deliver("GET", "/api/v1/sources/cam1/depth.png", "", nil)
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil || code != 200 || header.Get("Spatialflow-Depth-Kind") == "" || number(t, header.Get("Spatialflow-Depth-Scale")) <= 0 {
		t.Fatalf("depth: %d %v, %v", code, header, err)
	}
	if _, ok := img.(*image.Gray16); !ok {
		t.Errorf("depth is a %T", img)
	}
}

// Each refusal has its code and reason.
func TestStillsRefuse(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, func(c *gateway.Config) { c.Live.MaxViewers = 1 })
	scene := newScene(t, "cam1", "s", 1)
	scene.Depth = nil
	b.publishScene(t, scene) // its picture is gone
	r.eventually("cam1", func() bool { code, _, _ := r.get("/api/v1/sources/cam1/scene"); return code == 200 })
	for _, test := range []struct {
		path, accept string
		code         int
		reason       string
	}{
		{"cam2/picture.jpg", "", 404, "no_source"},
		{"cam2/depth.png", "", 404, "no_source"},
		{"cam2/scenes", "", 404, "no_source"},
		{"cam2/mjpeg", "", 404, "no_source"},
		{"cam1/picture.jpg", "", 404, "nothing"},
		{"cam1/depth.png", "", 404, "nothing"},
		{"cam1/picture.jpg?overlay=perhaps", "", 400, "malformed"},
		{"cam1/picture.jpg?max_fps=1", "", 400, "malformed"},
		{"cam1/depth.png?max_width=1", "", 400, "malformed"},
		{"cam1/mjpeg?max_fps=NaN", "", 400, "malformed"},
		{"cam1/mjpeg?max_fps=-1", "", 400, "malformed"},
		{"cam1/scenes?sources=cam2", "", 400, "malformed"},
		{"cam1/scenes", "text/html", 406, "content"},
	} {
		code, _, body := r.deliver("GET", "/api/v1/sources/"+test.path, "", nil, "Accept", test.accept)
		var p api.Problem
		if err := json.Unmarshal(body, &p); err != nil || code != test.code || p.Reason != test.reason {
			t.Errorf("%s: %d %s, %v; want %d, %s", test.path, code, body, err, test.code, test.reason)
		}
	}
	r.open("/api/v1/sources/cam1/scenes") // is the one viewer
	for _, path := range []string{"cam1/picture.jpg", "cam1/mjpeg", "cam1/scenes"} {
		if code, header, body := r.deliver("GET", "/api/v1/sources/"+path, "", nil); code != 503 || header.Get("Retry-After") == "" {
			t.Errorf("%s beside the only viewer: %d %v %s", path, code, header, body)
		}
	}
	if code, header, _ := r.do("HEAD", "/api/v1/sources/cam1/scenes"); code != 503 {
		t.Errorf("HEAD: %d %v", code, header)
	}
	if code, header, _ := r.do("POST", "/api/v1/sources/cam1/mjpeg"); code != 405 || header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d %v", code, header)
	}
}

// Scenes come as lines or as events, pictures as parts; each is newer than the one before.
func TestStreams(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	b.keepPublishing(t, "cam1")
	r.eventually("cam1", func() bool { code, _, _ := r.get("/api/v1/sources/cam1/scene"); return code == 200 })
	const enough = 5
	newer := func(last *uint64, data []byte) {
		t.Helper()
		scene, err := api.ParseScene(data)
		if err != nil || scene.Frame.Source != "cam1" || scene.Frame.Seq <= *last {
			t.Fatalf("after %d: %s, %v", *last, data, err)
		}
		*last = scene.Frame.Seq
	}
	var last uint64
	lines := r.open("/api/v1/sources/cam1/scenes", "Origin", "http://"+r.address)
	if kind := lines.Header.Get("Content-Type"); kind != "application/x-ndjson" || lines.StatusCode != 200 {
		t.Fatalf("%d %s", lines.StatusCode, kind)
	}
	if varies := lines.Header.Values("Vary"); !slices.Equal(varies, []string{"Origin", "Accept"}) {
		t.Errorf("it varies by %v", varies)
	}
	for scanner := bufio.NewScanner(lines.Body); last < enough && scanner.Scan(); {
		newer(&last, scanner.Bytes())
	}
	lines.Body.Close()
	last = 0
	events := r.open("/api/v1/sources/cam1/scenes", "Accept", "text/event-stream")
	if kind := events.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Fatal(kind)
	}
	seen := 0
	for scanner := bufio.NewScanner(events.Body); seen < enough && scanner.Scan(); {
		if data, ok := bytes.CutPrefix(scanner.Bytes(), []byte("data: ")); ok {
			newer(&last, data)
			seen++
		}
	}
	events.Body.Close()
	for _, query := range []string{"", "?overlay=1&max_fps=100"} {
		stream := r.open("/api/v1/sources/cam1/mjpeg" + query)
		if kind := stream.Header.Get("Content-Type"); kind != "multipart/x-mixed-replace; boundary=picture" {
			t.Fatal(kind)
		}
		parts := multipart.NewReader(stream.Body, "picture")
		for range enough {
			part, err := parts.NextRawPart()
			if err != nil {
				t.Fatal(err)
			}
			if img, err := jpeg.Decode(part); err != nil || img.Bounds().Dx() != 64 {
				t.Fatal(err)
			}
		}
		stream.Body.Close()
	}
	r.eventually("everybody has left", func() bool { return r.metric("spatialflow_viewers") == 0 })
}

// Who does not read is disconnected, and a stop ends streams without waiting for anybody.
func TestStreamsEnd(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, func(c *gateway.Config) { c.Live.WriteTimeout = 500 * time.Millisecond })
	b.keepPublishing(t, "cam1")
	r.eventually("cam1", func() bool { code, _, _ := r.get("/api/v1/sources/cam1/scene"); return code == 200 })
	conn := r.dialTCP(time.Minute)
	if _, err := io.WriteString(conn, "GET /api/v1/sources/cam1/scenes HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	r.eventually("it is a viewer", func() bool { return r.metric("spatialflow_viewers") == 1 })
	large := strings.Repeat("x", 100_000)
	for seq := uint64(1); r.metric("spatialflow_viewers") == 1; seq++ { // until the connection holds no more
		scene := newScene(t, "cam1", "t", seq)
		scene.Detections[0].Label = large[:1000]
		for range 6 {
			scene.Detections = append(scene.Detections, scene.Detections...)
		}
		b.publishScene(t, scene)
	}
	r.eventually("it has left", func() bool { return r.metric("spatialflow_viewers") == 0 })
	stream := r.open("/api/v1/sources/cam1/scenes")
	r.eventually("another viewer", func() bool { return r.metric("spatialflow_viewers") == 1 })
	r.stop()
	if _, err := io.Copy(io.Discard, stream.Body); err != nil {
		t.Logf("the stream ends: %v", err)
	}
}

// tryStreams compares what stills and streams answer with what is told of them.
func (r *runner) tryStreams(b bench, check func(method, path string, code int, header http.Header, body string)) {
	t := r.t.(*testing.T)
	t.Helper()
	b.keepPublishing(t, "cam9")
	r.eventually("cam9", func() bool { code, _, _ := r.get("/api/v1/sources/cam9/scene"); return code == 200 })
	for _, path := range []string{"cam9/picture.jpg", "cam9/picture.jpg?overlay=1", "cam9/depth.png", "cam9/depth.png?max_fps=1", "none/picture.jpg", "none/scenes", "none/mjpeg"} {
		code, header, body := r.deliver("GET", "/api/v1/sources/"+path, "", nil)
		check("GET", "/api/v1/sources/"+path, code, header, string(body))
	}
	for path, accept := range map[string]string{"scenes": "application/x-ndjson", "scenes?max_fps=5": "text/event-stream", "mjpeg": ""} {
		stream := r.open("/api/v1/sources/cam9/"+path, "Accept", accept)
		some := make([]byte, 500)
		if _, err := io.ReadFull(stream.Body, some); err != nil {
			t.Error(err)
		}
		stream.Body.Close()
		check("GET", "/api/v1/sources/cam9/"+path, stream.StatusCode, stream.Header, string(some))
	}
}
