package gateway_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/gateway"
)

// TestContract compares what the gateway answers with the openapi.yaml that it serves: every path, and every code that
// is told. A key that is missing there, or is there and not answered though required, fails.
func TestContract(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	m := &models{}
	r := b.startPredict(t, m, func(c *gateway.Config) { c.Manage.ManageSources = true })
	code, header, text := r.get("/openapi.yaml")
	if code != 200 || !strings.Contains(header.Get("Content-Type"), "yaml") {
		t.Fatalf("/openapi.yaml: %d %v", code, header)
	}
	loader := openapi3.NewLoader()
	document, err := loader.LoadFromData([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := document.Validate(loader.Context); err != nil {
		t.Fatal(err)
	}
	router, err := gorillamux.NewRouter(document)
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	check := func(method, path string, code int, header http.Header, body string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, "http://gateway"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		route, parameters, err := router.FindRoute(request)
		if err != nil {
			t.Fatalf("%s %s is not described: %v", method, path, err)
		}
		err = openapi3filter.ValidateResponse(t.Context(), &openapi3filter.ResponseValidationInput{
			RequestValidationInput: &openapi3filter.RequestValidationInput{Request: request, PathParams: parameters, Route: route},
			Status:                 code, Header: header, Body: io.NopCloser(bytes.NewReader([]byte(body))),
			Options: &openapi3filter.Options{IncludeResponseStatus: true},
		})
		if err != nil {
			t.Errorf("%s %s answers %d otherwise than is told: %v", method, path, code, err)
		}
		told[method+" "+route.Path] = true
	}
	get := func(path string) {
		t.Helper()
		code, header, body := r.get(path)
		check(http.MethodGet, path, code, header, body)
	}
	post := func(path, field string, data []byte, header ...string) {
		t.Helper()
		a := r.post(path, field, data, header...)
		check(http.MethodPost, path, a.code, a.header, a.body)
	}
	get("/api/v1/status")
	get("/api/v1/sources")
	get("/api/v1/sources/cam1/scene")
	b.publish(t, "cam1", "s", 1)
	failed := newScene(t, "cam2", "s", 1)
	failed.Outcome, failed.Errors, failed.Detections, failed.Depth = flow.OutcomeError, map[string]string{"depth": "broken"}, nil, nil
	b.publishScene(t, failed)
	held := newScene(t, "cam3", "s", 1)
	held.Held, held.Missing, held.Outcome = &flow.Held{Seq: 1, Age: 5}, []string{"depth"}, flow.OutcomePartial
	b.publishScene(t, held)
	account := flow.Account{Captured: 9, Admitted: 6, Complete: 4, InFlight: 1, Skipped: map[string]uint64{"rate": 3}, Dropped: map[string]uint64{"expired": 1}}
	alive := flow.Alive{Stage: "producer", Instance: "p", Sources: []flow.SourceStatus{
		{Source: "cam1", Session: "s", Mode: flow.ModeLossless, State: flow.StateFailed, Reason: "gone", Account: account}}}
	if err := b.bus.PublishAlive(alive); err != nil {
		t.Fatal(err)
	}
	r.eventually("the account", func() bool { _, _, body := r.get("/api/v1/sources"); return strings.Contains(body, `"expired":1`) })
	r.eventually("cam3", func() bool { code, _, _ := r.get("/api/v1/sources/cam3/scene"); return code == 200 })
	get("/api/v1/sources")
	for _, source := range []string{"cam1", "cam2", "cam3"} {
		get("/api/v1/sources/" + source + "/scene")
	}
	r.eventually("a second of stages, and streams", func() bool {
		_, _, body := r.get("/api/v1/status")
		return strings.Contains(body, `"stage":"end to end"`) && strings.Contains(body, `"stream":"FRAMES_LIVE"`)
	})
	get("/api/v1/status")
	post("/predict", "file", picture(t, 1))
	post("/predict?depth_size=map&classes=dog", "file", picture(t, 1))
	post("/predict", "file", []byte("no picture"))
	post("/predict", "file", make([]byte, 17<<20))
	post("/predict", "file", picture(t, 1), "Origin", "https://evil.example.com")
	m.change = func(s *flow.Scene) { s.Missing, s.Outcome = []string{"depth"}, flow.OutcomePartial }
	post("/predict", "file", picture(t, 1))
	m.change = func(s *flow.Scene) { s.Depth = nil }
	post("/predict", "file", picture(t, 1))
	r.tryConfigured(b, check)
	for path, item := range document.Paths.Map() {
		for method := range item.Operations() {
			if !told[method+" "+path] {
				t.Errorf("%s %s is described and not tried", method, path)
			}
		}
	}
}
