package rest

import (
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// contentPolicy lets the page load only from its own gateway, with nothing inline.
const contentPolicy = "default-src 'self'; base-uri 'none'; form-action 'none'; object-src 'none'; frame-ancestors 'none'"

// permissions are none: the page asks for no camera, and whatever it embeds gets none.
const permissions = "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"

// strictTransport has browsers come by https alone for a year, once they came so.
const strictTransport = "max-age=31536000"

// Door is that of any path, or none yet, in spatialflow_refused_total.
const Door = "http"

// Doors of spatialflow_refused_total.
const (
	doorHTTP    = Door
	doorPredict = "predict"
)

type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	refused  *prometheus.CounterVec
	failed   *prometheus.CounterVec
}

func newMetrics(registry prometheus.Registerer, refused *prometheus.CounterVec) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "spatialflow_http_requests_total", Help: "HTTP requests.",
		}, []string{"route", "method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "spatialflow_http_request_seconds", Help: "Time to answer an HTTP request; streams are left out.",
			Buckets: prometheus.DefBuckets,
		}, []string{"route"}),
		refused: refused,
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "spatialflow_predict_failed_total", Help: "Pictures that were posted and not answered though nothing is known to be wrong with them.",
		}, []string{"reason"}),
	}
	registry.MustRegister(m.requests, m.seconds, m.failed)
	return m
}

func (m *metrics) refuse(door, reason string) { m.refused.WithLabelValues(door, reason).Inc() }

// observe counts requests and sets the headers that all answers have.
func (a *API) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r, now := a.withAsked(r)
		header := w.Header()
		header.Set("X-Request-Id", now.id)
		header.Set("Content-Security-Policy", contentPolicy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Permissions-Policy", permissions)
		if r.TLS != nil && !strings.EqualFold(withoutPort(r.Host), "localhost") { // which other programs have too, without TLS
			header.Set("Strict-Transport-Security", strictTransport)
		}
		began := time.Now()
		answer := &answer{ResponseWriter: w, code: http.StatusOK, within: a.cfg.WriteTimeout}
		next.ServeHTTP(answer, r)
		route := "none"
		if r.Pattern != "" {
			_, after, found := strings.Cut(r.Pattern, " ")
			if route = after; !found {
				route = r.Pattern
			}
		}
		a.metrics.requests.WithLabelValues(route, method(r.Method), strconv.Itoa(answer.code)).Inc()
		took := time.Since(began)
		if !endless(route) {
			a.metrics.seconds.WithLabelValues(route).Observe(took.Seconds())
		}
		level := slog.LevelDebug
		if answer.code == http.StatusInternalServerError {
			level = slog.LevelError
		}
		if a.cfg.Log.Enabled(r.Context(), level) {
			a.cfg.Log.LogAttrs(r.Context(), level, "request", slog.String("request_id", now.id), slog.Any("client", a.callers.Address(r)),
				slog.String("method", method(r.Method)), slog.String("path", fmt.Sprintf("%.200s", now.path)), slog.Int("code", answer.code), slog.Duration("took", took))
		}
	})
}

// endless tells the routes whose answers end when their callers leave.
func endless(route string) bool {
	return route == "/ws" || strings.HasSuffix(route, "/scenes") || strings.HasSuffix(route, "/mjpeg")
}

// method keeps the label's values few.
func method(name string) string {
	switch name {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions:
		return name
	default:
		return "other"
	}
}

// answer notes the status code and bounds the time that the caller has to take it, and to send what is left of its own
// message: one that does neither would else hold the answer and its connection for as long as it likes.
type answer struct {
	http.ResponseWriter
	code   int
	within time.Duration
	begun  bool
}

func (a *answer) WriteHeader(code int) {
	a.code, a.begun = code, true
	// Until this answer is out: net/http sets its own then, and none when the connection is taken over. It reads what is
	// left of the message before it writes a small answer, so that has to end earlier.
	control, now := http.NewResponseController(a.ResponseWriter), time.Now()
	_, _ = control.SetReadDeadline(now.Add(a.within/2)), control.SetWriteDeadline(now.Add(a.within))
	a.ResponseWriter.WriteHeader(code)
}

func (a *answer) Write(data []byte) (int, error) {
	if !a.begun {
		a.WriteHeader(http.StatusOK)
	}
	return a.ResponseWriter.Write(data)
}

// Unwrap lets a websocket take the connection over.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
