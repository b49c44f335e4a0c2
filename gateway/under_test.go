package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"go.yaml.in/yaml/v3"

	programs "github.com/spatial-flow/spatial-flow/client"
	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/gateway"
)

// Everything lies under the base path, for browsers and programs, and nothing outside.
func TestBasePath(t *testing.T) {
	t.Parallel()
	const base = "/deep/spatial-flow"
	b := newProvisionedBench(t)
	r := b.startReady(t, func(c *gateway.Config) { c.BasePath = base; c.Manage.ManageSources = true })
	b.publish(t, "cam1", "s", 1)
	r.eventually("cam1", func() bool { _, _, body := r.get(base + "/api/v1/sources"); return strings.Contains(body, "cam1") })
	for path, want := range map[string]struct {
		code     int
		location string
		holds    string
	}{
		base:                            {308, "spatial-flow/", ""},
		base + "?a=b":                   {308, "spatial-flow/?a=b", ""},
		base + "/":                      {200, "", "<title>"},
		base + "/status":                {200, "", "<title>"},
		base + "/app.js":                {200, "", ""},
		base + "/api":                   {308, "api/", ""},
		base + "/api/":                  {200, "", "All paths are under <code>" + base + "/</code>"},
		base + "/api/v1/sources":        {200, "", "cam1"},
		base + "/api/v1/sources/cam1":   {200, "", "cam1"},
		base + "/api/v1/sources/none":   {404, "", `"instance":"` + base + `/api/v1/sources/none"`},
		base + "/none":                  {404, "", base + "/openapi.yaml says"},
		base + "/ws":                    {426, "", ""},
		base + "//":                     {404, "", "not_found"},
		base + "//api/v1/sources":       {404, "", "not_found"},
		base + "/api/../api/v1/sources": {404, "", "not_found"},
		base + "x/":                     {404, "", "all is under"},
		"/":                             {404, "", "application/problem+json"},
		"/api/v1/sources":               {404, "", "not_found"},
		"/ws":                           {404, "", "not_found"},
		"/deep":                         {404, "", "not_found"},
		"/spatial-flow/":                {404, "", "not_found"},
	} {
		code, header, body := r.get(path)
		if code != want.code || header.Get("Location") != want.location || !strings.Contains(body+header.Get("Content-Type"), want.holds) {
			t.Errorf("%s: %d, Location %q, %.300s", path, code, header.Get("Location"), body)
		}
	}
	if counted := r.metric("spatialflow_http_requests_total", "route", "/api/v1/sources/{source}"); counted != 2 {
		t.Errorf("%v requests of a route are counted, want 2", counted)
	}
	_, _, text := r.get(base + "/openapi.yaml")
	var document struct{ Servers []struct{ URL string } }
	if err := yaml.Unmarshal([]byte(text), &document); err != nil || len(document.Servers) != 1 || document.Servers[0].URL != base+"/" {
		t.Errorf("servers of openapi.yaml: %v, %v", document, err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := programs.Dial(ctx, "http://"+r.address+base, programs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range c.Scenes(ctx, "cam1") {
		if err != nil {
			t.Error(err)
		}
		break
	}

	page := newBrowser(t)
	page.open("http://" + r.address + base)
	page.await(`location.pathname === "` + base + `/" && document.body.dataset.connection === "open" && document.body.dataset.seq === "1"`)
	page.await(`document.body.dataset.picture === "shown" && document.body.dataset.depth === "1"`)
	page.open("http://" + r.address + base + "/status")
	page.await(`document.body.innerText.includes("cam1")`)
	page.open("http://" + r.address + base + "/api")
	page.await(`location.pathname === "` + base + `/api/" && document.styleSheets.length === 1`)
	page.quiet()
}

func TestBasePathIsChecked(t *testing.T) {
	t.Parallel()
	for base, ok := range map[string]bool{
		"": true, "/spatial-flow": true, "/a/b.c~d": true,
		"/": false, "a": false, "/a/": false, "/a//b": false, "/a/../b": false, "/.": false, "/..": false, "/a b": false, "/a?b": false, "/ä": false, "//host": false,
	} {
		var cfg gateway.Config
		if err := service.Defaults(&cfg); err != nil {
			t.Fatal(err)
		}
		cfg.BasePath = base
		if err := cfg.Validate(); (err == nil) != ok {
			t.Errorf("%q: %v", base, err)
		}
	}
}

// logged is what a gateway says.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.b.Write(p) }
func (l *logged) String() string              { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

// A request has a name, its own or one that it is given, in the answer, in the problem and in the log.
func TestRequestID(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	out := new(logged)
	r := b.startLogging(t, slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug})), nil)
	sane := regexp.MustCompile(`^[A-Z2-7]{26}$`)
	seen := map[string]bool{}
	for given, taken := range map[string]bool{
		"": false, "abc-123_X.y": true, strings.Repeat("a", 64): true, strings.Repeat("b", 65): false, "a b": false, "a\"b": false, "ä": false,
	} {
		header := []string{"X-Request-Id", given}
		if given == "" {
			header = nil
		}
		code, answered, body := r.get("/none?secret=1", header...)
		id := answered.Get("X-Request-Id")
		var problem api.Problem
		if err := json.Unmarshal([]byte(body), &problem); err != nil || code != 404 || problem.RequestID != id {
			t.Errorf("%q: %d %s, %v", given, code, body, err)
		}
		if taken && id != given || !taken && (!sane.MatchString(id) || seen[id]) {
			t.Errorf("%q: the request is called %q", given, id)
		}
		seen[id] = true
		if _, answered, _ := r.get("/api/v1/sources", "X-Request-Id", id); answered.Get("X-Request-Id") != id {
			t.Errorf("%q is not taken over", id)
		}
		r.eventually("lines of the log with "+id, func() bool { return strings.Count(out.String(), `"request_id":"`+id+`"`) == 2 })
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws://"+r.address+"/ws", &websocket.DialOptions{HTTPHeader: http.Header{"X-Request-Id": {"viewer-1"}}})
	if err != nil {
		t.Fatal(err)
	}
	conn.CloseNow()
	r.eventually("lines of the log about the viewer", func() bool { return strings.Count(out.String(), `"request_id":"viewer-1"`) == 2 })
	if said := out.String(); strings.Contains(said, "secret") || !strings.Contains(said, `"client":"127.0.0.1"`) {
		t.Errorf("the log says %s", said)
	}
}
