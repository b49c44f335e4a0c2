package gateway_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"go.yaml.in/yaml/v3"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/gateway"
	"github.com/spatial-flow/spatial-flow/gateway/access"
)

// denying is a gateway that asks for tokens.
type denying struct {
	*runner
	predicts, sees, seldom string
}

func closedGateway(t *testing.T, b bench) denying {
	t.Helper()
	k := newTokens(t)
	d := denying{predicts: k.add("predicts", "predict", "", ""), sees: k.add("sees", "view, status", "cam1", ", expires: 2099-12-31"), seldom: k.add("seldom", "view", every, ", rate: 0.001")}
	d.runner = b.startReady(t, k.use)
	return d
}

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
	if document, err = loader.LoadFromData(closed(t, text)); err != nil {
		t.Fatal(err)
	}
	router, err := gorillamux.NewRouter(document)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"multipart/x-mixed-replace", "application/x-ndjson", "text/event-stream"} { // as they are
		openapi3filter.RegisterBodyDecoder(kind, openapi3filter.FileBodyDecoder)
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
	denying := closedGateway(t, b)
	for _, header := range [][]string{nil, as(access.NewToken()), as(denying.predicts), as(denying.sees), as(denying.seldom), as(denying.seldom)} {
		for _, path := range []string{"/api/v1/caller", "/api/v1/status", "/api/v1/sources", "/api/v1/sources/cam1", "/api/v1/sources/cam1/scene"} {
			code, answer, body := denying.get(path, header...)
			check(http.MethodGet, path, code, answer, body)
		}
	}
	input := func(body string) error { // so that this test can fail
		request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://gateway/api/v1/sources", nil)
		route, _, err := router.FindRoute(request)
		if err != nil {
			t.Fatal(err)
		}
		return openapi3filter.ValidateResponse(t.Context(), &openapi3filter.ResponseValidationInput{
			RequestValidationInput: &openapi3filter.RequestValidationInput{Request: request, Route: route}, Status: 200,
			Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)),
		})
	}
	_, _, status := r.get("/api/v1/sources")
	if input(status) != nil || input(strings.Replace(status, "{", `{"more":1,`, 1)) == nil || input(strings.Replace(status, `"sources"`, `"source"`, 1)) == nil {
		t.Error("a key that is not told, or one that is missing, is not noticed")
	}
	get("/api/v1/caller")
	get("/api/v1/status")
	get("/api/v1/sources")
	get("/api/v1/sources/cam1/scene")
	get("/api/v1/sources/cam1")
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
		get("/api/v1/sources/" + source)
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
	ask := func(query, kind string, body []byte, header ...string) {
		t.Helper()
		code, answer, data := r.deliver(http.MethodPost, "/api/v1/predict"+query, kind, body, header...)
		check(http.MethodPost, "/api/v1/predict", code, answer, string(data))
	}
	m.change = nil
	ask("", "image/jpeg", picture(t, 1))
	ask("?depth=true&groups=detect,depth", "image/jpeg", picture(t, 1))
	ask("", "image/jpeg", picture(t, 1), "Accept", "image/png")
	ask("", "image/jpeg", picture(t, 1), "Accept", "text/html")
	ask("", "text/plain", picture(t, 1))
	ask("", "image/jpeg", []byte("no picture"))
	ask("", "image/jpeg", make([]byte, 17<<20))
	r.tryStreams(b, check)
	for path, item := range document.Paths.Map() {
		for method := range item.Operations() {
			if !told[method+" "+path] {
				t.Errorf("%s %s is described and not tried", method, path)
			}
		}
	}
}

// closed is the document with no object that may have keys which are not told: readers must bear them, and this test must not.
func closed(t *testing.T, text string) []byte {
	t.Helper()
	var document map[string]any
	if err := yaml.Unmarshal([]byte(text), &document); err != nil {
		t.Fatal(err)
	}
	var walk func(value any, whole bool)
	walk = func(value any, whole bool) {
		switch value := value.(type) {
		case []any:
			for _, one := range value {
				walk(one, whole)
			}
		case map[string]any:
			if to, _ := value["$ref"].(string); whole && strings.HasPrefix(to, "#/components/schemas/") {
				delete(value, "$ref")
				value["allOf"] = []any{map[string]any{"$ref": to}}
			}
			_, object := value["properties"].(map[string]any)
			if _, open := value["additionalProperties"]; !open && whole && (object || value["allOf"] != nil) {
				value["unevaluatedProperties"] = false
			}
			for key, inner := range value {
				walk(inner, key != "allOf")
			}
		}
	}
	components := document["components"].(map[string]any)
	for _, schema := range components["schemas"].(map[string]any) { // who refers to them closes them
		walk(schema, false)
	}
	walk(components["responses"], true)
	walk(document["paths"], true)
	data, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
