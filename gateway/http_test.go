package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/gateway"
	"github.com/spatial-flow/spatial-flow/gateway/overview"
)

func TestTooManyViewers(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, func(c *gateway.Config) { c.Live.MaxViewers = 1 })
	first := r.watch("cam1")
	code, header, body := r.get("/ws")
	if code != http.StatusServiceUnavailable || header.Get("Retry-After") == "" || !strings.Contains(body, `"error"`) {
		t.Errorf("second viewer: %d %v %s", code, header, body)
	}
	first.conn.Close(websocket.StatusNormalClosure, "")
	r.eventually("room", func() bool { return r.metric("spatialflow_viewers") == 0 })
	r.watch("cam1")
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, func(c *gateway.Config) { c.Origins = []string{"*.example.org"} })
	for origin, allowed := range map[string]bool{
		"http://" + r.address: true, "https://view.example.org": true,
		"http://evil.example.com": false, "null": false,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		conn, answer, err := websocket.Dial(ctx, "ws://"+r.address+"/ws", &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {origin}}})
		cancel()
		if conn != nil {
			conn.CloseNow()
		}
		if (err == nil) != allowed {
			t.Errorf("origin %s: %v", origin, err)
		}
		if !allowed && answer != nil && answer.StatusCode != http.StatusForbidden {
			t.Errorf("origin %s: code %d", origin, answer.StatusCode)
		}
	}
	if n := r.metric("spatialflow_refused_total", "door", "ws", "reason", "handshake"); n != 2 {
		t.Errorf("refused %v, want 2", n)
	}
}

func TestRest(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	if code, _, body := r.get("/api/v1/sources"); code != 200 || strings.TrimSpace(body) != `{"type":"status","sources":[]}` {
		t.Errorf("no sources: %d %s", code, body)
	}
	if code, _, body := r.get("/api/v1/sources/cam9/scene"); code != 404 || !strings.Contains(body, "no source is known yet") {
		t.Errorf("no sources: %d %s", code, body)
	}
	sent := b.publish(t, "cam1", "s", 4)
	b.publishFrame(t, newFrame(t, "cam2", "s", 1))
	r.eventually("cam2", func() bool { _, _, body := r.get("/api/v1/sources"); return strings.Contains(body, "cam2") })

	code, header, body := r.get("/api/v1/sources/cam1/scene")
	var got api.Scene
	if err := json.Unmarshal([]byte(body), &got); code != 200 || err != nil || header.Get("Content-Type") != "application/json" {
		t.Fatalf("scene: %d %v %s", code, err, body)
	}
	if diff := cmp.Diff(sent.JSON(), got); diff != "" {
		t.Errorf("scene differs (-sent +got):\n%s", diff)
	}
	for path, want := range map[string]string{
		"/api/v1/sources/cam2/scene": `source \"cam2\" has no scene yet`,
		"/api/v1/sources/cam9/scene": `no source \"cam9\": known are cam1, cam2`,
		"/api/v2":                    "no such door",
	} {
		if code, _, body := r.get(path); code != 404 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	if code, header, body := r.do(http.MethodPost, "/api/v1/sources"); code != 405 || header.Get("Allow") == "" || !strings.Contains(body, `"error"`) {
		t.Errorf("POST: %d %s", code, body)
	}
	if n := r.metric("spatialflow_http_requests_total", "route", "/api/v1/sources/{source}/scene", "method", "GET", "code", "404"); n != 3 {
		t.Errorf("spatialflow_http_requests_total %v, want 3", n)
	}
}

func TestPageFiles(t *testing.T) {
	t.Parallel()
	b := newBench(t) // not provisioned: the page is up all the same
	r := b.start(t, nil)
	for path, kind := range map[string]string{"/": "text/html", "/app.js": "text/javascript", "/style.css": "text/css", "/icon.svg": "image/svg+xml"} {
		code, header, body := r.get(path)
		if code != 200 || !strings.HasPrefix(header.Get("Content-Type"), kind) || len(body) == 0 {
			t.Errorf("%s: %d %v", path, code, header)
		}
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'self'", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
		} {
			if !strings.Contains(header.Get(name), want) {
				t.Errorf("%s: %s is %q", path, name, header.Get(name))
			}
		}
		if !strings.Contains(header.Get("Content-Security-Policy"), "frame-ancestors 'none'") || strings.Contains(header.Get("Content-Security-Policy"), "unsafe") {
			t.Errorf("%s: policy %q", path, header.Get("Content-Security-Policy"))
		}
		if code, _, body := r.get(path, "If-None-Match", header.Get("ETag")); code != http.StatusNotModified || body != "" {
			t.Errorf("%s again: %d", path, code)
		}
	}
	if code, _, _ := r.get("/etc/passwd"); code != 404 {
		t.Errorf("unknown file: %d", code)
	}
	if code, _, _ := r.do(http.MethodPost, "/"); code != 405 {
		t.Errorf("POST: %d", code)
	}
	if r.health.Ready() {
		t.Error("ready without streams")
	}
	b.provision(t)
	r.eventually("readiness", r.health.Ready)
}

// dialTCP opens a bare connection for so long.
func (r *runner) dialTCP(within time.Duration) net.Conn {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.address)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(within)); err != nil {
		r.t.Fatal(err)
	}
	return conn
}

// A caller that asks and asks and never reads is cut off.
func TestCallerThatDoesNotRead(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, func(c *gateway.Config) { c.Live.WriteTimeout = 200 * time.Millisecond })
	conn := r.dialTCP(patience)
	var err error
	for err == nil {
		_, err = conn.Write([]byte("GET /openapi.yaml HTTP/1.1\r\nHost: localhost\r\n\r\n"))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("still connected after %v", patience)
	}
}

// A caller that announces a body and does not send it is answered and cut off.
func TestCallerThatDoesNotSend(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, func(c *gateway.Config) { c.Live.WriteTimeout = 200 * time.Millisecond })
	for _, head := range []string{"POST /predict?x=1", "GET /openapi.yaml"} {
		conn := r.dialTCP(patience)
		if _, err := conn.Write([]byte(head + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn)
		if errors.Is(err, os.ErrDeadlineExceeded) || !strings.HasPrefix(string(answer), "HTTP/1.1 ") {
			t.Errorf("%s: %d bytes, then %v", head, len(answer), err)
		}
	}
}

// Others have the status while one that asked for it does not read.
func TestStatusIsNotHeldUp(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, func(c *gateway.Config) { c.Live.WriteTimeout = time.Hour })
	for i := range 30 {
		b.publish(t, fmt.Sprint("cam", i), "S", 1)
	}
	r.eventually("a status that is longer than what net/http writes after the handler has returned", func() bool {
		_, _, body := r.get("/api/v1/status")
		return len(body) > 6<<10
	})
	conn := r.dialTCP(2 * time.Second)
	var err error
	for err == nil { // until the gateway can't write any more
		_, err = conn.Write([]byte("GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n"))
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	if code, _, _ := r.get("/api/v1/status"); code != http.StatusOK { // within the patience of get, which the other outlasts
		t.Errorf("answered %d", code)
	}
}

// A page whose name was made to resolve to this machine (DNS rebinding) gets nothing; whoever is named may be called so.
func TestHosts(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, func(c *gateway.Config) { c.Origins = []string{"*.example.org"} })
	_, port, _ := net.SplitHostPort(r.address)
	for host, allowed := range map[string]bool{
		r.address: true, "localhost:" + port: true, "127.0.0.1": true, "[::1]:" + port: true, "view.example.org": true, "VIEW.example.org:80": true,
		"evil.example": false, "evil.example:" + port: false, "localhost.evil.example": false, "127.0.0.1.evil.example": false,
	} {
		for _, path := range []string{"/", "/api/v1/sources", "/ws"} {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.address+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Host = host
			answer, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if refused := answer.StatusCode == http.StatusForbidden; refused == allowed {
				t.Errorf("%s as %s: %d", path, host, answer.StatusCode)
			}
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// The numbers of the status are those of /metrics, and of the sources' accounts.
func TestStatusIsWhatMetricsSay(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	viewer := r.watch("cam1")
	for seq := uint64(1); seq <= 3; seq++ {
		b.publish(t, "cam1", "s", seq)
		for viewer.scene().header.Frame.Seq != seq {
		}
	}
	if err := b.bus.Conn().Publish("alive.detect.x", []byte("nonsense")); err != nil {
		t.Fatal(err)
	}
	r.eventually("the refusal", func() bool { return r.metric("spatialflow_refused_total", "door", "alive", "reason", "malformed") == 1 })
	var status overview.Overview
	r.eventually("a status that is younger", func() bool {
		_, _, body := r.get("/api/v1/status")
		if err := json.Unmarshal([]byte(body), &status); err != nil {
			t.Fatal(err)
		}
		return status.Gateway.Refused["alive malformed"] == 1 && status.NATS.Version != ""
	})
	c := status.Gateway
	for name, pair := range map[string][2]float64{
		"viewers": {c.Viewers, r.metric("spatialflow_viewers")},
		"scenes":  {c.Scenes, r.metric("spatialflow_viewer_scenes_total")},
		"drops":   {c.Drops["slow"], r.metric("spatialflow_viewer_drops_total", "reason", "slow")},
		"refused": {c.Refused["alive malformed"], r.metric("spatialflow_refused_total", "door", "alive")},
		"lost":    {c.LostOfNATS, r.metric("spatialflow_gateway_lost_total")},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %v in the status, %v in the metrics", name, pair[0], pair[1])
		}
	}
	if c.Viewers != 1 || c.Scenes != 3 {
		t.Errorf("%v viewers, %v scenes; want 1 and 3", c.Viewers, c.Scenes)
	}
}
