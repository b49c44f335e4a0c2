package telemetry

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const adminGrace = 2 * time.Second // for open requests, when the service has ended

// Admin is a service's address for those who run it: /metrics, /healthz and /readyz for whoever reaches it, and, over
// the loopback address alone, POST /drain and Go's profiles (/debug/pprof).
type Admin struct {
	Address  string
	TLS      TLSFiles // none: without TLS
	Gatherer prometheus.Gatherer
	Log      *slog.Logger          // nil: the default one
	Ready    func() bool           // asked for each /readyz
	Drain    func()                // begins what SIGTERM begins; it must return at once, and may be called again
	Metrics  prometheus.Registerer // those of the address itself; nil: none
}

const doorAdmin = "admin" // of spatialflow_refused_total

// Serve answers until ctx ends. [ErrCertificate] is returned at once when the files of TLS can't be used.
func (a Admin) Serve(ctx context.Context) error {
	return Server{
		Address: a.Address, TLS: a.TLS, Handler: a.handler(), Log: cmp.Or(a.Log, slog.Default()), Metrics: a.Metrics, Door: doorAdmin, Grace: adminGrace,
	}.Serve(ctx)
}

func (a Admin) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.Gatherer, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !a.Ready() {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	mux.Handle("POST /drain", loopbackOnly(func(w http.ResponseWriter, _ *http.Request) {
		a.Drain()
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintln(w, "draining")
	}))
	for path, profile := range map[string]http.HandlerFunc{"": pprof.Index, "profile": pprof.Profile, "symbol": pprof.Symbol, "trace": pprof.Trace} {
		mux.Handle("GET /debug/pprof/"+path, loopbackOnly(profile))
	}
	return mux
}

// loopbackOnly refuses who calls from another machine, and pages of a browser on this one: they send an Origin, or the
// name of a host that was made to resolve here.
func loopbackOnly(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
		if !ok || !local.IP.IsLoopback() || r.Header.Get("Origin") != "" || !namesLoopback(r.Host) {
			http.Error(w, r.URL.Path+" answers on the loopback address only", http.StatusForbidden)
			return
		}
		next(w, r)
	})
}

func namesLoopback(hostport string) bool {
	host := hostport
	if name, _, err := net.SplitHostPort(hostport); err == nil {
		host = name
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
