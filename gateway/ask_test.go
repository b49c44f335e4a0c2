package gateway_test

import (
	"bytes"
	"encoding/json"
	"image"
	"image/png"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	reader "github.com/spatial-flow/spatial-flow/client"
	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/client/depthmap"
	"github.com/spatial-flow/spatial-flow/flow"
)

// deliver sends a body of a kind.
func (r *runner) deliver(method, path, kind string, body []byte, header ...string) (int, http.Header, []byte) {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), method, "http://"+r.address+path, bytes.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	if kind != "" {
		request.Header.Set("Content-Type", kind)
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		r.t.Errorf("%s %s: %v", method, path, err)
		return 0, nil, nil
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Error(err)
	}
	return response.StatusCode, response.Header, data
}

// A picture is the body or a form's field; the answer is its scene, in its own pixels, or the depth map.
func TestAsk(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	m := &models{change: func(s *flow.Scene) {
		s.Width, s.Height = s.Width/2, s.Height/2 // as if the workers had it smaller
		s.Detections = []flow.Detection{
			{Label: "Person", Score: .9, Box: [4]float32{1, 2, 3, 4}, Depth: &flow.BoxDepth{Kind: depthmap.InverseRelative, Nearness: 73}}, {Label: "dog", ClassID: 1, Score: .3, Box: [4]float32{1, 1, 2, 2}},
		}
	}}
	r := b.startPredict(t, m, nil)
	gateway, err := reader.Dial(t.Context(), "http://"+r.address, reader.Options{})
	if err != nil {
		t.Fatal(err)
	}
	scene, err := gateway.Predict(t.Context(), picture(t, 1), reader.Question{})
	if err != nil {
		t.Fatal(err)
	}
	if len(scene.Detections) != 2 || scene.Detections[0].Box != [4]float32{2, 4, 6, 8} || scene.Size != [2]int{64, 48} || scene.Depth != nil || scene.Outcome != api.OutcomeComplete {
		t.Errorf("the scene is %+v", scene)
	}
	if !slices.Equal(m.plan, []string{"detect", "depth"}) {
		t.Errorf("asked %v", m.plan)
	}
	scene, err = gateway.Predict(t.Context(), picture(t, 1), reader.Question{Groups: []string{"depth"}, Classes: []string{"person"}, Confidence: .5, Depth: true})
	if err != nil {
		t.Fatal(err)
	}
	var unpacker depthmap.Unpacker
	samples, err := unpacker.Unpack(&scene.Depth.Map)
	if err != nil || len(scene.Detections) != 1 || !slices.Equal(m.plan, []string{"depth"}) || scene.Depth.Range == nil {
		t.Errorf("asked %v, %+v, %v", m.plan, scene, err)
	}
	code, header, data := r.deliver("POST", "/api/v1/predict?groups=depth", "image/x-whatever", picture(t, 1), "Accept", "text/html, image/png;q=0.9, application/json;q=0.1")
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil || code != 200 || header.Get("Content-Type") != "image/png" || !strings.HasPrefix(header.Get("Spatialflow-Frame"), flow.PredictPrefix) || header.Get("Vary") != "Accept" {
		t.Fatalf("as PNG: %d %v, %v", code, header, err)
	}
	offset, scale := number(t, header.Get("Spatialflow-Depth-Offset")), number(t, header.Get("Spatialflow-Depth-Scale"))
	for i, sample := range samples {
		pixel := img.(*image.Gray16).Gray16At(i%scene.Depth.Width, i/scene.Depth.Width).Y
		if got, want := offset+scale*float64(pixel), float64(scene.Depth.Value(sample)); math.Abs(got-want) > 1e-3 {
			t.Fatalf("sample %d is %v in the PNG, want %v", i, got, want)
		}
	}
	if a := r.post("/api/v1/predict?confidence=0.95", "file", picture(t, 1)); a.code != 200 || len(a.Detections) != 0 {
		t.Errorf("a form: %d %s", a.code, a.body)
	}
}

func number(t *testing.T, text string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Each refusal has its code and reason.
func TestAskRefuses(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	m := &models{}
	r := b.startPredict(t, m, nil)
	jpeg := picture(t, 1)
	failed := func(failure flow.Failure) func(*flow.Scene) {
		return func(s *flow.Scene) {
			s.Outcome, s.Errors, s.Failures = flow.OutcomeError, map[string]string{"depth": "broken"}, map[string]flow.Failure{"depth": failure}
		}
	}
	for name, test := range map[string]struct {
		query, kind, accept string
		body                []byte
		change              func(*flow.Scene)
		code                int
		reason, words       string
	}{
		"no kind":        {"", "", "", jpeg, nil, 415, "content", "image/"},
		"curl's default": {"", "application/x-www-form-urlencoded", "", jpeg, nil, 415, "content", "--data-binary"},
		"a bad kind":     {"", "image/;;", "", jpeg, nil, 415, "content", "image/"},
		"wants a page":   {"", "image/jpeg", "text/html", jpeg, nil, 406, "content", "application/json"},
		"wants nothing":  {"", "image/jpeg", "*/*;q=0", jpeg, nil, 406, "content", "application/json"},
		"nothing":        {"", "image/jpeg", "", nil, nil, 400, "malformed", "empty"},
		"no picture":     {"", "image/jpeg", "", []byte("no picture"), nil, 400, "malformed", "begins like no"},
		"no form":        {"", "multipart/form-data", "", jpeg, nil, 400, "malformed", "boundary"},
		"too large":      {"", "image/jpeg", "", make([]byte, 17<<20), nil, 413, "too_large", "16 MiB"},
		"unknown":        {"?clases=dog", "image/jpeg", "", jpeg, nil, 400, "malformed", "clases"},
		"confidence":     {"?confidence=NaN", "image/jpeg", "", jpeg, nil, 400, "malformed", "0 to 1"},
		"depth":          {"?depth=deep", "image/jpeg", "", jpeg, nil, 400, "malformed", "neither"},
		"no such group":  {"?groups=detect,pose", "image/jpeg", "", jpeg, nil, 400, "malformed", `"pose", but: detect, depth`},
		"picture":        {"", "image/jpeg", "", jpeg, failed(flow.Failure{Class: flow.ClassPicture}), 422, "picture", "depth: broken"},
		"lost":           {"", "image/jpeg", "", jpeg, failed(flow.Failure{Class: flow.ClassLost, Cause: flow.CauseModel}), 502, "lost", "depth"},
		"no map":         {"?groups=detect&depth=1", "image/jpeg", "", jpeg, func(s *flow.Scene) { s.Depth = nil }, 400, "malformed", "none of the groups"},
		"no map as PNG":  {"?groups=detect", "image/jpeg", "image/*", jpeg, func(s *flow.Scene) { s.Depth = nil }, 400, "malformed", "none of the groups"},
		"no map at all":  {"?depth=1", "image/jpeg", "", jpeg, func(s *flow.Scene) { s.Depth = nil }, 503, "no_worker", "detect"},
	} {
		m.change = test.change
		code, header, body := r.deliver("POST", "/api/v1/predict"+test.query, test.kind, test.body, "Accept", test.accept)
		var p api.Problem
		if err := json.Unmarshal(body, &p); err != nil || code != test.code || p.Status != code || p.Reason != test.reason || !strings.Contains(p.Detail, test.words) || header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %v %s, %v; want %d, %s, %q", name, code, header, body, err, test.code, test.reason, test.words)
		}
	}
	m.change = nil
	if code, _, body := r.deliver("POST", "/api/v1/predict", "image/jpeg", jpeg, "Origin", "https://evil.example.com"); code != 403 {
		t.Errorf("another host's page: %d %s", code, body)
	}
}

// The page of the API is there, with its style.
func TestReference(t *testing.T) {
	t.Parallel()
	r := newBench(t).start(t, nil)
	if code, header, _ := r.get("/api"); code != http.StatusPermanentRedirect || header.Get("Location") != "api/" {
		t.Errorf("/api: %d %v", code, header)
	}
	for path, kind := range map[string]string{"/api/": "text/html; charset=utf-8", "/api/reference.css": "text/css; charset=utf-8"} {
		if code, header, body := r.get(path); code != 200 || header.Get("Content-Type") != kind || len(body) < 500 {
			t.Errorf("%s: %d %v, %d bytes", path, code, header, len(body))
		}
	}
}
