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
	"github.com/spatial-flow/spatial-flow/flow"
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
	if n := r.metric("spatialflow_refused_total", "door", "http", "reason", "origin"); n != 2 {
		t.Errorf("refused %v, want 2", n)
	}
}

func TestRest(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	if code, _, body := r.get("/api/v1/sources"); code != 200 || strings.TrimSpace(body) != `{"type":"status","sources":[],"managed":false,"allowed":[],"configured":[]}` {
		t.Errorf("no sources: %d %s", code, body)
	}
	if code, _, body := r.get("/api/v1/sources/cam9/scene"); code != 404 || !strings.Contains(body, "no source is known yet") {
		t.Errorf("no sources: %d %s", code, body)
	}
	sent := b.publish(t, "cam1", "s", 4)
	alive := flow.Alive{Stage: "producer", Instance: "p", Sources: []flow.SourceStatus{{Source: "cam2", Session: "s", State: flow.StateRunning}}}
	if err := b.bus.PublishAlive(alive); err != nil {
		t.Fatal(err)
	}
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
		"/api/v2":                    "there is no",
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
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "Permissions-Policy": "camera=()",
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
	r := b.startReady(t, func(c *gateway.Config) { c.Live.WriteTimeout = 3 * time.Second }) // a busy machine answers within that
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

// One that asks for a stream and does not send its body has its stream all the same, and holds no viewer's place without one.
func TestFollowerThatDoesNotSend(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, func(c *gateway.Config) { c.Live.WriteTimeout = 3 * time.Second }) // as above
	b.publish(t, "cam1", "S", 1)
	r.eventually("cam1", func() bool { code, _, _ := r.get("/api/v1/sources/cam1/scene"); return code == 200 })
	for _, path := range []string{"scenes", "mjpeg"} {
		conn := r.dialTCP(patience)
		if _, err := fmt.Fprintf(conn, "GET /api/v1/sources/cam1/%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n", path); err != nil {
			t.Fatal(err)
		}
		head := make([]byte, len("HTTP/1.1 200"))
		if _, err := io.ReadFull(conn, head); err != nil || string(head) != "HTTP/1.1 200" {
			t.Errorf("%s: %q, then %v", path, head, err)
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

// ask is a request at the gateway's address that calls it host, from a page of origin unless that is empty.
func (r *runner) ask(method, path, host, origin string) (int, string) {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), method, "http://"+r.address+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	request.Host = host
	if origin != "" {
		request.Header.Set("Origin", origin)
	}
	answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

// The gateway is called by an address, by localhost, or by a name that it is given, whatever is asked for.
func TestHosts(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, func(c *gateway.Config) {
		c.Hosts, c.Origins = []string{"viewer", "*.cluster.local", "tight:8000"}, []string{"*.example.org"}
	})
	_, port, _ := net.SplitHostPort(r.address)
	for host, allowed := range map[string]bool{
		r.address: true, "localhost:" + port: true, "LOCALHOST": true, "127.0.0.1": true, "[::1]:" + port: true, "10.0.0.7:8000": true,
		"viewer": true, "Viewer:9000": true, "gateway.ns.svc.cluster.local": true, "tight:8000": true, "tight:8001": false, "tight": false,
		"view.example.org": true, "VIEW.example.org:80": true, "example.org": false,
		"evil.example": false, "evil.example:" + port: false, "localhost.evil.example": false, "127.0.0.1.evil.example": false, "viewer.evil.example": false,
	} {
		for _, path := range []string{"/", "/status", "/api/v1/sources", "/openapi.yaml", "/ws", "/nothing"} {
			code, body := r.ask(http.MethodGet, path, host, "")
			if refused := code == http.StatusForbidden; refused == allowed || refused && !strings.Contains(body, `"reason":"host"`) {
				t.Errorf("%s as %s: %d %s", path, host, code, body)
			}
		}
	}
	if r.metric("spatialflow_refused_total", "door", "http", "reason", "host") == 0 {
		t.Error("refusals are not counted")
	}
}

// Pages of one host may ask or may not, with or without a port, by websocket as by POST.
func TestOriginsAlike(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, func(c *gateway.Config) {
		c.Hosts, c.Origins = []string{"viewer"}, []string{"lab.local", "tight.local:8080", "*.example.org"}
	})
	for _, test := range []struct {
		host, origin string
		allowed      bool
	}{
		{r.address, "", true}, {r.address, "http://" + r.address, true}, {"viewer:80", "http://VIEWER:80", true},
		{r.address, "http://lab.local", true}, {r.address, "http://lab.local:8080", true}, {r.address, "https://LAB.local", true},
		{r.address, "http://tight.local:8080", true}, {r.address, "http://tight.local", false}, {r.address, "https://a.example.org:444", true},
		{r.address, "http://viewer", false}, {r.address, "http://127.0.0.1:1", false}, {r.address, "null", false}, {r.address, "http://", false},
		{r.address, "http://evil.example", false}, {r.address, "http://lab.local.evil.example", false}, {"evil.example", "http://evil.example", false},
	} {
		for _, path := range []string{"GET /ws", "POST /predict", "GET /api/v1/sources"} {
			method, path, _ := strings.Cut(path, " ")
			code, body := r.ask(method, path, test.host, test.origin)
			if (code != http.StatusForbidden) != test.allowed {
				t.Errorf("%s %s as %s from a page of %q: %d %s", method, path, test.host, test.origin, code, body)
			}
		}
	}
}

// What is refused is said alike everywhere: to programs by a word, to people in a sentence.
func TestProblems(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	for _, test := range []struct {
		method, path string
		code         int
		reason       string
		allow        string
	}{
		{"GET", "/nothing", 404, "not_found", ""},
		{"GET", "/api/v2/", 404, "not_found", ""},
		{"POST", "/api/v1/nothing", 404, "not_found", ""},
		{"GET", "/api/v1/sources/none/scene", 404, "no_source", ""},
		{"POST", "/api/v1/status", 405, "method", "GET, HEAD"},
		{"DELETE", "/api/v1/sources/none/scene", 405, "method", "GET, HEAD"},
		{"POST", "/ws", 405, "method", "GET, HEAD"},
		{"GET", "/predict", 405, "method", "POST"},
		{"POST", "/", 405, "method", "GET, HEAD"},
		{"PUT", "/app.js", 405, "method", "GET, HEAD"},
		{"POST", "/openapi.yaml", 405, "method", "GET, HEAD"},
		{"GET", "/ws", 426, "upgrade", ""},
		{"POST", "/predict", 400, "malformed", ""},
		{"POST", "/predict?x=1", 400, "malformed", ""},
	} {
		if test.path == "/predict" && test.method == "POST" {
			test.code, test.reason = 503, "no_worker"
		}
		code, header, body := r.do(test.method, test.path)
		var p api.Problem
		if err := json.Unmarshal([]byte(body), &p); err != nil || code != test.code || header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: %d %v %s, %v; want %d", test.method, test.path, code, header, body, err, test.code)
			continue
		}
		path, _, _ := strings.Cut(test.path, "?")
		want := api.Problem{Type: "about:blank", Title: http.StatusText(code), Status: code, Detail: p.Detail, Instance: path, Reason: test.reason, Message: p.Detail, RequestID: header.Get("X-Request-Id")}
		if p != want || p.Detail == "" || header.Get("Allow") != test.allow {
			t.Errorf("%s %s: %+v, allowed %q", test.method, test.path, p, header.Get("Allow"))
		}
	}
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

// A page of a host that --origins names reads what it asks for, and may ask with PUT; another's may neither.
func TestPagesOfOtherHostsRead(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, func(c *gateway.Config) { c.Origins = []string{"lab.local"} })
	for _, test := range []struct {
		method, path, origin string
		code                 int
		allowed, methods     string
	}{
		{"GET", "/api/v1/sources", "http://lab.local", 200, "http://lab.local", ""},
		{"OPTIONS", "/api/v1/sources/door", "http://lab.local", 204, "http://lab.local", "GET, HEAD, POST, PUT, DELETE"},
		{"OPTIONS", "/api/v1/sources/door", "http://evil.example", 403, "", ""},
		{"GET", "/api/v1/sources", "", 200, "", ""},
	} {
		request, err := http.NewRequestWithContext(t.Context(), test.method, "http://"+r.address+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if test.origin != "" {
			request.Header.Set("Origin", test.origin)
		}
		if test.method == "OPTIONS" {
			request.Header.Set("Access-Control-Request-Method", "PUT")
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		allowed, methods := answer.Header.Get("Access-Control-Allow-Origin"), answer.Header.Get("Access-Control-Allow-Methods")
		if answer.StatusCode != test.code || allowed != test.allowed || methods != test.methods {
			t.Errorf("%s %s of %q: %d, allowed %q, methods %q", test.method, test.path, test.origin, answer.StatusCode, allowed, methods)
		}
	}
}
