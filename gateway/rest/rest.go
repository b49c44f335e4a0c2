// Package rest is what the gateway says by HTTP: routes, whose pages and which hosts may ask, and how answers and refusals look.
package rest

import (
	"context"
	_ "embed" // openapi.yaml
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/spatial-flow/spatial-flow/gateway/access"
	"github.com/spatial-flow/spatial-flow/gateway/callers"
	"github.com/spatial-flow/spatial-flow/gateway/live"
	"github.com/spatial-flow/spatial-flow/gateway/manage"
	"github.com/spatial-flow/spatial-flow/gateway/overview"
	"github.com/spatial-flow/spatial-flow/gateway/predict"
	"github.com/spatial-flow/spatial-flow/gateway/rest/reference"
	"github.com/spatial-flow/spatial-flow/gateway/web"
)

//go:embed openapi.yaml
var openAPI []byte

// Config is the settings of all requests.
type Config struct {
	// Hosts are patterns of the names, with or without a port, by which the gateway may be called, beside addresses and localhost.
	Hosts []string
	// Origins are patterns of the hosts whose pages may ask, and by whose names the gateway may be called too.
	Origins []string
	// BasePath is where everything lies: see [ValidBasePath].
	BasePath     string
	WriteTimeout time.Duration // for a caller to take its answer
	// Log gets a line for each request when it has ended, without its query: at debug level, unless the gateway failed.
	Log *slog.Logger
}

// API is what is answered by HTTP.
type API struct {
	cfg      Config
	metrics  *metrics
	callers  *callers.Callers
	gate     *access.Gate
	live     *live.Server
	predict  *predict.Predictor
	overview *overview.Observer
	manage   *manage.Manager
	open     open
}

// New makes the API of the rooms that are given, for those whom the gate lets in.
func New(cfg Config, registry prometheus.Registerer, refused *prometheus.CounterVec, c *callers.Callers, gate *access.Gate, l *live.Server, p *predict.Predictor, o *overview.Observer, m *manage.Manager) *API {
	return &API{cfg: cfg, metrics: newMetrics(registry, refused), callers: c, gate: gate, live: l, predict: p, overview: o, manage: m}
}

// Handler is everything under the gateway's address; websockets end with serving, pictures that are asked for with work.
func (a *API) Handler(serving, work context.Context) http.Handler {
	mux := http.NewServeMux()
	for _, route := range a.routes(serving, work) {
		mux.HandleFunc(route.pattern, a.admit(route.needs, route.answer))
	}
	return a.observe(a.open.counted(a.limited(a.under(a.ownHost(withPage(mux, web.New()))))))
}

// Wait returns once no request is open any more; those that still come are refused.
func (a *API) Wait() { a.open.wait() }

// routes are what is answered beside the page, and whom. Methods that a path does not take, and paths that are not there, are
// answered by withPage.
func (a *API) routes(serving, work context.Context) []route {
	document := openAPIUnder(a.cfg.BasePath)
	const sources = "/api/v1/sources"
	const source = sources + "/{source}"
	return []route{
		{"GET /ws", later, a.serveViewers(serving)},
		{"GET /api/v1/caller", known, a.serveCaller},
		{"GET /api/v1/status", access.Status, a.serveStatus},
		{"GET " + sources, access.View, a.serveSources},
		{"GET " + source, access.View, a.serveSource},
		{"PUT " + source, access.Manage, a.putSource},
		{"DELETE " + source, access.Manage, a.deleteSource},
		{"GET " + source + "/scene", access.View, a.serveScene},
		{"GET " + source + "/picture.jpg", access.View, a.servePicture},
		{"GET " + source + "/depth.png", access.View, a.serveDepth},
		{"GET " + source + "/scenes", access.View, a.stream(serving, a.sceneStream)},
		{"GET " + source + "/mjpeg", access.View, a.stream(serving, a.pictureStream)},
		{"POST /api/v1/predict", access.Predict, a.serveAsk(work)},
		{"POST /predict", access.Predict, a.servePredict(work)},
		{"GET /api", free, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "api/") // wherever the gateway lies
			w.WriteHeader(http.StatusPermanentRedirect)
		}},
		{"GET /api/{$}", free, a.serveReference(sync.OnceValues(func() ([]byte, error) { return reference.Page(document) }))},
		{"GET /api/reference.css", free, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/css; charset=utf-8")
			_, _ = w.Write(reference.CSS) // fails when the caller is gone
		}},
		{"GET /openapi.yaml", free, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/yaml")
			_, _ = w.Write(document) // fails when the caller is gone
		}},
	}
}

// withPage serves the page's files beside what mux has, and answers what neither has.
func withPage(mux *http.ServeMux, page *web.Page) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refusal, pattern := mux.Handler(r)
		switch {
		case pattern != "":
			mux.ServeHTTP(w, r)
		case page.Has(r.URL.Path):
			r.Pattern = "/" // for the metrics
			if r.Method == http.MethodGet || r.Method == http.MethodHead {
				page.ServeHTTP(w, r)
				return
			}
			writeMethods(w, r, "GET, HEAD")
		default:
			said := unwritten{header: http.Header{}}
			refusal.ServeHTTP(&said, r)
			if said.code == http.StatusMethodNotAllowed {
				writeMethods(w, r, said.header.Get("Allow"))
				return
			}
			writeProblem(w, r, http.StatusNotFound, reasonNotFound, fmt.Sprintf("there is no %.80q: %s/openapi.yaml says what there is", askedOf(r).path, askedOf(r).base))
		}
	})
}

func writeMethods(w http.ResponseWriter, r *http.Request, allowed string) {
	w.Header().Set("Allow", allowed)
	writeProblem(w, r, http.StatusMethodNotAllowed, reasonMethod, fmt.Sprintf("%.80q takes %s only", askedOf(r).path, allowed))
}

// unwritten is an answer that nobody gets.
type unwritten struct {
	header http.Header
	code   int
}

func (u *unwritten) Header() http.Header            { return u.header }
func (u *unwritten) WriteHeader(code int)           { u.code = code }
func (u *unwritten) Write(data []byte) (int, error) { return len(data), nil }

// serveViewers answers /ws until ctx ends.
func (a *API) serveViewers(ctx context.Context) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var who *access.Caller // nil: its first message says
		if _, given := access.Bearer(r); given {
			who = access.From(r.Context())
		}
		switch err := a.live.ServeViewer(ctx, w, r, who); {
		case errors.Is(err, live.ErrFull):
			w.Header().Set("Retry-After", "5")
			writeProblem(w, r, http.StatusServiceUnavailable, reasonFull, err.Error())
		case errors.Is(err, live.ErrUpgrade):
			if r.ProtoMajor == 1 { // later versions have no such header
				w.Header().Set("Upgrade", "websocket")
			}
			writeProblem(w, r, http.StatusUpgradeRequired, reasonUpgrade, err.Error())
		}
	}
}

// serveStatus answers GET /api/v1/status with the overview.
func (a *API) serveStatus(w http.ResponseWriter, r *http.Request) {
	data, err := a.overview.Encoded(access.From(r.Context()))
	if err != nil {
		writeProblem(w, r, http.StatusInternalServerError, reasonInternal, "the status can't be encoded")
		return
	}
	writeJSON(w, http.StatusOK, json.RawMessage(data))
}

// servePredict answers POST /predict until ctx ends. Older callers know one code for what is wrong with a picture: 400.
func (a *API) servePredict(ctx context.Context) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		prediction, err := a.predict.Predict(ctx, w, r)
		if err == nil {
			writeJSON(w, http.StatusOK, prediction)
			return
		}
		no := a.refusal(err)
		if no.Code == http.StatusUnprocessableEntity {
			no.Code = http.StatusBadRequest
		}
		writeRefusal(w, r, no)
	}
}

// refusal is why a picture is not answered, and counts it.
func (a *API) refusal(err error) predict.Refusal {
	var no predict.Refusal
	if !errors.As(err, &no) {
		no = predict.Refusal{Code: http.StatusInternalServerError, Reason: reasonInternal, Text: err.Error()}
	}
	if no.Code < statusClientGone {
		a.metrics.refuse(doorPredict, no.Reason)
	} else {
		a.metrics.failed.WithLabelValues(no.Reason).Inc()
	}
	return no
}

func writeRefusal(w http.ResponseWriter, r *http.Request, no predict.Refusal) {
	if no.Code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	writeProblem(w, r, no.Code, no.Reason, no.Text)
}

// noScene answers that there is no scene of a source, or no such source.
func (a *API) noScene(w http.ResponseWriter, r *http.Request, name string, known bool, names []string) {
	switch {
	case known:
		writeProblem(w, r, http.StatusNotFound, reasonNoScene, fmt.Sprintf("source %q has no scene yet", name))
	case len(names) == 0:
		writeProblem(w, r, http.StatusNotFound, reasonNoSource, fmt.Sprintf("no source %.80q: no source is known yet", name))
	default:
		writeProblem(w, r, http.StatusNotFound, reasonNoSource, fmt.Sprintf("no source %.80q: known are %s", name, strings.Join(names, ", ")))
	}
}

// serveScene answers GET /api/v1/sources/{source}/scene with the newest scene, without its depth map.
func (a *API) serveScene(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("source")
	scene, known, names := a.live.Newest(name, access.From(r.Context()))
	if scene == nil {
		a.noScene(w, r, name, known, names)
		return
	}
	writeJSON(w, http.StatusOK, scene)
}

// serveReference answers GET /api/ with the page of what is here.
func (a *API) serveReference(made func() ([]byte, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		page, err := made()
		if err != nil {
			writeProblem(w, r, http.StatusInternalServerError, reasonInternal, err.Error())
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(page) // fails when the caller is gone
	}
}
