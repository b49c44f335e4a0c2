package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/configured"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/gateway"
)

// producing answers for a producer that allows what is said, until the test ends. What it says of sources comes with it.
func (b bench) producing(t *testing.T, instance string, allows []string, sources ...flow.SourceStatus) {
	t.Helper()
	sub, err := configured.Serve(b.bus, slog.New(slog.DiscardHandler), strings.Join(allows, " "), func(r configured.Request) configured.Answer {
		if r.Op == configured.OpDelete {
			if err := configured.Delete(t.Context(), b.bus, r.Name); err != nil {
				return configured.Answer{Code: configured.CodeNotFound, Error: err.Error()}
			}
			return configured.Answer{Code: configured.CodeSame}
		}
		switch {
		case !strings.HasPrefix(r.Source.URI, strings.TrimSuffix(allows[0], "*")):
			return configured.Answer{Code: configured.CodeNotAllowed, Error: "uri: not allowed"}
		case r.Name == "taken":
			return configured.Answer{Code: configured.CodeTaken, Error: "name: taken"}
		}
		made, err := configured.Put(t.Context(), b.bus, r.Name, r.Source, time.Now())
		switch {
		case err != nil:
			return configured.Answer{Code: configured.CodeUnavailable, Error: err.Error()}
		case made:
			return configured.Answer{Code: configured.CodeMade}
		}
		return configured.Answer{Code: configured.CodeSame}
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var saying sync.WaitGroup
	saying.Go(func() {
		for ctx.Err() == nil {
			if err := b.bus.PublishAlive(flow.Alive{Stage: "producer", Instance: instance, Allows: allows, Sources: sources}); err != nil {
				t.Error(err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	t.Cleanup(func() { cancel(); saying.Wait(); _ = sub.Unsubscribe() })
}

// send is do with a body.
func (r *runner) send(method, path, body string, header ...string) (int, http.Header, string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, "http://"+r.address+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, string(text)
}

const door = `{"uri":"rtsp://10.0.0.7/stream?profile=2","credential":"front-door","settings":{"fps":10,"verify":false}}`

// tryConfigured tries what is told of sources that are configured.
func (r *runner) tryConfigured(b bench, check func(method, path string, code int, header http.Header, body string)) {
	t := r.t.(*testing.T)
	try := func(method, path, body string, want int, header ...string) {
		t.Helper()
		code, head, text := r.send(method, path, body, header...)
		if code != want {
			t.Errorf("%s %s %.80s: %d %s, want %d", method, path, body, code, text, want)
		}
		check(method, path, code, head, text)
	}
	const path = "/api/v1/sources/door"
	try(http.MethodPut, path, door, 503)
	b.producing(t, "p", []string{"rtsp://10.0.0.*"}, flow.SourceStatus{Source: "door", Session: "s", URI: "rtsp://10.0.0.7/stream?…", Mode: flow.ModeLive, State: flow.StateRunning})
	r.eventually("what is allowed", func() bool { _, _, body := r.get("/api/v1/sources"); return strings.Contains(body, "rtsp://10.0.0.*") })
	try(http.MethodPut, path, door, 201)
	try(http.MethodPut, path, door, 200)
	r.eventually("its producer", func() bool { _, _, body := r.get(path); return strings.Contains(body, `"producer":"p"`) })
	for _, path := range []string{path, "/api/v1/sources/cam1", "/api/v1/sources"} {
		try(http.MethodGet, path, "", 200)
	}
	try(http.MethodGet, "/api/v1/sources/nobody", "", 404)
	try(http.MethodPut, "/api/v1/sources/taken", door, 409)
	try(http.MethodPut, path, `{"uri":"rtsp://10.0.1.7/"}`, 403)
	try(http.MethodPut, path, `{"uri":"/etc/passwd"}`, 400)
	try(http.MethodPut, path, strings.Repeat(" ", configured.MaxMessage+1), 413)
	try(http.MethodDelete, path, "", 204)
	try(http.MethodDelete, path, "", 404)
}

// What is configured is shown without what it may hide, with who has it, and goes when it is deleted.
func TestConfigured(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, func(c *gateway.Config) { c.Manage.ManageSources = true })
	status := flow.SourceStatus{Source: "door", Session: "s", URI: "rtsp://10.0.0.7/other", Mode: flow.ModeLive, State: flow.StateRunning, Reason: "credential not known here"}
	before := status // of an address that yard has no more
	before.Source, before.Reason = "yard", "connection refused"
	b.producing(t, "p", []string{"rtsp://10.0.0.*"}, before, status)
	b.producing(t, "q", []string{"http://*"})
	list := func() (l api.Configuration) {
		t.Helper()
		code, _, body := r.get("/api/v1/sources")
		if err := json.Unmarshal([]byte(body), &l); err != nil || code != 200 || strings.Contains(body, "profile=2") {
			t.Fatalf("%d %s: %v", code, body, err)
		}
		return l
	}
	r.eventually("both producers", func() bool { return len(list().Allowed) == 2 })
	for _, test := range []struct {
		method, path, body string
		code               int
		says               string
	}{
		{http.MethodPut, "yard", `{"uri":"rtsp://10.0.0.9/"}`, 201, `"state":"waiting"`},
		{http.MethodPut, "door", door, 201, `"uri":"rtsp://10.0.0.7/stream?…"`},
		{http.MethodPut, "door", door, 200, `"credential":"front-door"`},
		{http.MethodPut, "door", `{"uri":"rtsp://10.0.0.7/other"}`, 200, `other`},
		{http.MethodPut, "web", `{"uri":"http://10.0.0.7/"}`, 201, `"state":"waiting"`},
		{http.MethodPut, "x", `{"uri":"rtsps://10.0.0.7/"}`, 403, "not allowed"},
		{http.MethodPut, "taken", door, 409, "name: taken"},
		{http.MethodPut, "x", `{"uri":"rtsp://admin:S3cret@10.0.0.7/"}`, 400, "credential"},
		{http.MethodPut, "x", `{"uri":"file:///etc/passwd"}`, 400, "uri"},
		{http.MethodPut, "x", `{"uri":"rtsp://10.0.0.7/","user":"S3cret"}`, 400, "user"},
		{http.MethodPut, "x", `{"uri":"rtsp://10.0.0.7/","settings":{"fps":"S3cret"}}`, 400, "settings.fps"},
		{http.MethodPut, "x", strings.Repeat(`{"uri":`, 5000), 400, ""},
		{http.MethodPut, "x", "", 400, "empty"},
		{http.MethodPut, "x", strings.Repeat("S3cret", 20_000), 413, "64 KiB"},
		{http.MethodPut, "predict-x", door, 400, "name"},
		{http.MethodPut, "a%2Fb", door, 400, "name"},
		{http.MethodPut, "a.b", door, 400, "name"},
		{http.MethodDelete, "x", "", 404, "no such source is configured"},
		{http.MethodDelete, "a.b", "", 400, "name"},
		{http.MethodDelete, "web", "", 204, ""},
		{http.MethodDelete, "web", "", 404, ""},
	} {
		code, header, body := r.send(test.method, "/api/v1/sources/"+test.path, test.body)
		if code != test.code || !strings.Contains(body, test.says) || strings.Contains(body, "S3cret") || (code == 201) != (header.Get("Location") != "") {
			t.Errorf("%s %s %.60s: %d %s, want %d %q", test.method, test.path, test.body, code, body, test.code, test.says)
		}
	}
	for origin, allowed := range map[string]bool{"http://" + r.address: true, "http://evil.example.com": false, "null": false} {
		for _, method := range []string{http.MethodPut, http.MethodDelete} {
			code, _, body := r.send(method, "/api/v1/sources/own", `{"uri":"rtsp://10.0.0.8/"}`, "Origin", origin)
			if (code < 300) != allowed || !allowed && code != http.StatusForbidden {
				t.Errorf("%s by a page of %s: %d %s", method, origin, code, body)
			}
		}
	}
	r.eventually("one, that is the producer's", func() bool {
		l := list()
		return l.Managed && len(l.Configured) == 2 && l.Configured[0].Source == "door" && l.Configured[0].Producer == "p" && l.Configured[0].Reason == status.Reason
	})
	if yard := list().Configured[1]; yard.Source != "yard" || yard.State != api.StateWaiting || yard.Reason == before.Reason {
		t.Errorf("told of another address: %+v", yard)
	}
	if code, _, body := r.get("/api/v1/sources/door"); code != 200 || !strings.Contains(body, `"configured":{"source":"door"`) || !strings.Contains(body, `"status":{`) {
		t.Errorf("one: %d %s", code, body)
	}
	if n := r.metric("spatialflow_refused_total", "door", "manage", "reason", "not_allowed"); n != 1 {
		t.Errorf("refused %v, want 1", n)
	}
}

// Without --manage-sources nothing can be configured, and what is configured is shown; on an address that others reach it can't be asked for.
func TestConfiguredElsewhere(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, nil)
	if _, err := configured.Put(t.Context(), b.bus, "door", configured.Source{URI: "rtsp://10.0.0.7/"}, time.Now()); err != nil {
		t.Fatal(err)
	}
	r.eventually("what is configured", func() bool {
		_, _, body := r.get("/api/v1/sources")
		return strings.Contains(body, `"configured":[{"source":"door"`)
	})
	for _, method := range []string{http.MethodPut, http.MethodDelete} {
		if code, _, body := r.send(method, "/api/v1/sources/door", door); code != 403 || !strings.Contains(body, "--manage-sources") {
			t.Errorf("%s: %d %s", method, code, body)
		}
	}
	for address, ok := range map[string]bool{
		"127.0.0.1:8000": true, "localhost:0": true, "[::1]:8000": true, "127.8.8.8:80": true,
		"0.0.0.0:8000": false, ":8000": false, "[::]:8000": false, "10.0.0.1:8000": false, "gateway.example:80": false, "8000": false,
	} {
		var cfg gateway.Config
		if err := service.Defaults(&cfg); err != nil {
			t.Fatal(err)
		}
		cfg.HTTP, cfg.Manage.ManageSources, cfg.Access.Anonymous = address, true, []string{"view"}
		if err := cfg.Validate(); (err == nil) != ok || err != nil && !errors.Is(err, gateway.ErrConfig) {
			t.Errorf("--manage-sources at %s: %v", address, err)
		}
		cfg.Access.Tokens = "tokens.yaml"
		if err := cfg.Validate(); err != nil {
			t.Errorf("--manage-sources at %s, with tokens: %v", address, err)
		}
	}
}

// The status page adds, shows and removes sources where the gateway lets them be configured, and says what was refused.
func TestStatusPageConfigures(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r := b.startReady(t, func(c *gateway.Config) { c.Manage.ManageSources = true })
	b.producing(t, "p", []string{"rtsp://10.0.0.*"})
	page := newBrowser(t)
	page.open("http://" + r.address + "/status")
	page.await(`document.getElementById("allowed").textContent === "Allowed are rtsp://10.0.0.*."`)
	type field struct{ name, value string }
	submit := func(fields ...field) {
		t.Helper()
		for _, f := range fields {
			ask[bool](page, fmt.Sprintf(`(document.querySelector("#configure [name=%s]").value = %q, true)`, f.name, f.value))
		}
		ask[bool](page, `(document.querySelector("#configure button").click(), true)`)
	}
	submit(field{"name", "door"}, field{"uri", "rtsp://10.0.0.7/stream"}, field{"credential", "front-door"}, field{"fps", "10"})
	page.await(`document.querySelector("#configured [data-source=door]")?.innerText.includes("front-door") && document.querySelector("#configure [name=uri]").value === ""`)
	if all, err := configured.All(t.Context(), b.bus); err != nil || all["door"].Settings.FPS != 10 || all["door"].Credential != "front-door" {
		t.Errorf("%+v, %v", all, err)
	}
	ask[bool](page, `(window.confirm = () => true, document.querySelector("#configured [data-remove=door]").click(), true)`)
	page.await(`document.getElementById("configured").innerText.includes("None is configured.")`)

	plain := b.startReady(t, nil)
	page.open("http://" + plain.address + "/status")
	page.await(`document.body.dataset.connection === "open"`)
	if !ask[bool](page, `document.getElementById("configured-section").hidden`) {
		t.Error("the page shows what is not there")
	}
	if _, err := configured.Put(t.Context(), b.bus, "door", configured.Source{URI: "rtsp://10.0.0.7/"}, time.Now()); err != nil {
		t.Fatal(err)
	}
	page.await(`document.querySelector("#configured [data-source=door]")`)
	if ask[bool](page, `Boolean(document.querySelector("#configured [data-remove]")) || !document.getElementById("configure").hidden`) {
		t.Error("the page offers what this gateway does not do")
	}
}
