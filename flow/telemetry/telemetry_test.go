package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/spatial-flow/spatial-flow/flow/porttest"
	"github.com/spatial-flow/spatial-flow/flow/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 3 * time.Minute // for what happens at once

// client keeps no connection, so that a server has nothing to wait for.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}

func get(t *testing.T, method, url string) (code int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(data)
}

func ends(t *testing.T, ended <-chan error) {
	t.Helper()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("ended with %v, want nil", err)
		}
	case <-time.After(patience):
		t.Fatal("does not end with its context")
	}
}

func TestAdmin(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	telemetry.NewStageSeconds(registry, "detect").WithLabelValues("infer").Observe(0.03)
	var health telemetry.Health
	address := porttest.Address(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- telemetry.Admin{Address: address, Gatherer: registry, Ready: health.Ready, Drain: health.Drain}.Serve(ctx)
	}()
	for stop := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(stop) {
			t.Fatalf("nothing listens on %s: %v", address, err)
		}
	}
	expect := func(method, path string, wantCode int, wantBody string) {
		t.Helper()
		code, body := get(t, method, "http://"+address+path)
		if code != wantCode || !strings.Contains(body, wantBody) {
			t.Errorf("%s %s: %d %q, want %d with %q", method, path, code, body, wantCode, wantBody)
		}
	}
	expect("GET", "/healthz", 200, "ok")
	expect("GET", "/readyz", 503, "not ready")
	health.SetReady(true)
	expect("GET", "/readyz", 200, "ready")
	health.SetReady(false)
	expect("GET", "/readyz", 503, "not ready")
	expect("GET", "/metrics", 200, `spatialflow_stage_seconds_bucket{stage="detect",step="infer",le="0.05"} 1`)
	expect("GET", "/metrics", 200, `spatialflow_stage_seconds_count{stage="detect",step="infer"} 1`)
	expect("POST", "/metrics", 405, "")
	expect("GET", "/debug/pprof/goroutine?debug=1", 200, "goroutine profile:")
	expect("POST", "/debug/pprof/goroutine", 405, "")
	expect("GET", "/drain", 405, "")
	health.SetReady(true)
	expect("POST", "/drain", 202, "draining")
	expect("GET", "/readyz", 503, "not ready")
	health.SetReady(true) // what drains is never ready again
	expect("GET", "/readyz", 503, "not ready")
	cancel()
	ends(t, ended)
}

// standalone runs all stages in one process: registries are their own.
func TestStagesHaveRegistriesOfTheirOwn(t *testing.T) {
	t.Parallel()
	for range 2 {
		telemetry.NewStageSeconds(prometheus.NewRegistry(), "detect")
	}
	both := prometheus.NewRegistry()
	telemetry.NewStageSeconds(both, "detect")
	telemetry.NewStageSeconds(both, "depth")
}

func TestBindErrorNamesTheAddress(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, address := range []string{l.Addr().String(), "nowhere", "127.0.0.1:99999"} {
		err := telemetry.Server{Address: address, Handler: http.NotFoundHandler(), Log: slog.New(slog.DiscardHandler), Grace: time.Second, Listening: func(net.Addr) { t.Error("listens") }}.Serve(t.Context())
		if err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(address, "127.0.0.1:")) {
			t.Errorf("listen on %s: %v, want an error that names it", address, err)
		}
	}
}

func serve(t *testing.T, grace time.Duration, handler http.Handler) (address string, cancel context.CancelFunc, ended chan error) {
	t.Helper()
	return serveLogging(t, grace, slog.New(slog.DiscardHandler), handler)
}

func serveLogging(t *testing.T, grace time.Duration, log *slog.Logger, handler http.Handler) (address string, cancel context.CancelFunc, ended chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	bound, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		ended <- telemetry.Server{Address: "127.0.0.1:0", Handler: handler, Log: log, Grace: grace, Listening: func(a net.Addr) { bound <- a }}.Serve(ctx)
	}()
	select {
	case a := <-bound:
		return a.String(), cancel, ended
	case err := <-ended:
		t.Fatalf("does not listen: %v", err)
	}
	return "", nil, nil
}

func TestOpenRequestsFinish(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	address, cancel, ended := serve(t, patience, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-release
		io.WriteString(w, "done")
	}))
	answers := make(chan string, 1)
	go func() {
		response, err := client.Get("http://" + address)
		if err != nil {
			answers <- err.Error()
			return
		}
		defer response.Body.Close()
		data, _ := io.ReadAll(response.Body) // a torn answer is not "done"
		answers <- string(data)
	}()
	<-entered
	cancel()
	for stop := time.Now().Add(patience); ; time.Sleep(time.Millisecond) { // until it takes no more requests
		conn, err := net.Dial("tcp", address)
		if err != nil {
			break
		}
		conn.Close()
		if time.Now().After(stop) {
			t.Fatal("it goes on listening after its context ended")
		}
	}
	close(release)
	if got := <-answers; got != "done" {
		t.Errorf("the open request got %q, want its answer", got)
	}
	ends(t, ended)
}

func TestWhatEveryServiceShows(t *testing.T) {
	t.Parallel()
	registry, connected := prometheus.NewRegistry(), false
	telemetry.NewBuildInfo(registry, "1.2.3", "abc")
	telemetry.NewNATSConnected(registry, func() bool { return connected })
	shows := func(want string) {
		t.Helper()
		w := httptest.NewRecorder()
		telemetry.Handler(telemetry.Admin{Gatherer: registry}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("no %s in\n%s", want, w.Body)
		}
	}
	shows(`spatialflow_build_info{go="` + runtime.Version() + `",revision="abc",version="1.2.3"} 1`)
	shows("spatialflow_nats_connected 0")
	connected = true
	shows("spatialflow_nats_connected 1")
}

// A viewer that never goes away must not keep the program.
func TestHangingRequestIsCut(t *testing.T) {
	t.Parallel()
	entered, left := make(chan struct{}), make(chan struct{})
	address, cancel, ended := serve(t, 10*time.Millisecond, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
		close(left)
	}))
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		if response, err := client.Get("http://" + address); err == nil {
			response.Body.Close()
		}
	}()
	<-entered
	cancel()
	ends(t, ended) // after its grace
	<-left
	<-answered
}

func TestLogger(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := telemetry.NewLogger(&out, "json", slog.LevelInfo)
	log.Debug("hidden")
	log.Info("frame skipped", "reason", "busy")
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line["msg"] != "frame skipped" || line["reason"] != "busy" || line["level"] != "INFO" {
		t.Errorf("JSON log is %q (%v)", out.String(), err)
	}
	for _, format := range []string{"text", ""} {
		out.Reset()
		log = telemetry.NewLogger(&out, format, slog.LevelWarn)
		log.Info("hidden")
		log.Warn("frame skipped", "reason", "busy")
		if got := out.String(); !strings.Contains(got, `level=WARN msg="frame skipped" reason=busy`) || strings.Count(got, "\n") != 1 {
			t.Errorf("log of format %q is %q", format, got)
		}
	}
}

// What a service can't work without makes it not ready once it is away for longer than a restart of it takes.
func TestReadyFollowsWhatIsNeeded(t *testing.T) {
	t.Parallel()
	var health telemetry.Health
	away := time.Duration(0)
	health.Needs(func() time.Duration { return away })
	for _, step := range []struct {
		away        time.Duration
		begun, want bool
	}{{0, false, false}, {0, true, true}, {4 * time.Second, true, true}, {5 * time.Second, true, false}, {time.Hour, true, false}, {0, true, true}} {
		away = step.away
		health.SetReady(step.begun)
		if got := health.Ready(); got != step.want {
			t.Errorf("away for %v, begun %v: ready %v", step.away, step.begun, got)
		}
	}
}
