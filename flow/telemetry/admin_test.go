package telemetry_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/spatial-flow/spatial-flow/flow/telemetry"
)

// A drain stops a service and a profile shows its memory: neither is for other machines, nor for pages of a browser here.
func TestDrainAndProfilesAreForThisMachine(t *testing.T) {
	t.Parallel()
	for name, call := range map[string]struct {
		local, host, origin string
		want                int
	}{
		"this machine":             {"127.0.0.1", "127.0.0.1:8001", "", 202},
		"this machine, by name":    {"127.0.0.1", "localhost:8001", "", 202},
		"this machine, IPv6":       {"::1", "[::1]:8001", "", 202},
		"another machine":          {"10.1.2.3", "10.1.2.3:8001", "", 403},
		"another, a false host":    {"10.1.2.3", "localhost:8001", "", 403},
		"a page":                   {"127.0.0.1", "127.0.0.1:8001", "http://evil.example", 403},
		"a page by DNS rebinding":  {"127.0.0.1", "evil.example:8001", "", 403},
		"a port forwarded address": {"127.0.0.1", "10.1.2.3:8001", "", 403},
	} {
		t.Run(name, func(t *testing.T) {
			drained := false
			handler := telemetry.Handler(telemetry.Admin{Gatherer: prometheus.NewRegistry(), Ready: func() bool { return true }, Drain: func() { drained = true }})
			for _, one := range []struct{ method, path string }{{"POST", "/drain"}, {"GET", "/debug/pprof/goroutine"}} {
				r := httptest.NewRequest(one.method, one.path, nil)
				r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.ParseIP(call.local), Port: 8001}))
				if r.Host = call.host; call.origin != "" {
					r.Header.Set("Origin", call.origin)
				}
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, r)
				if refused := call.want == 403; (w.Code == 403) != refused {
					t.Errorf("%s %s: %d", one.method, one.path, w.Code)
				}
			}
			if drained != (call.want == 202) {
				t.Errorf("drained: %v", drained)
			}
			for _, path := range []string{"/healthz", "/readyz", "/metrics"} { // kubelet and Prometheus call from elsewhere
				r := httptest.NewRequest("GET", path, nil)
				r.Host = call.host
				w := httptest.NewRecorder()
				if handler.ServeHTTP(w, r); w.Code != 200 {
					t.Errorf("GET %s: %d", path, w.Code)
				}
			}
		})
	}
}
