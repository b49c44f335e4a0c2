// Package rest is what the gateway says by HTTP: routes, whose pages and which hosts may ask, and how answers and refusals look.
package rest

import (
	"context"
	_ "embed" // openapi.yaml
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/spatial-flow/spatial-flow/gateway/live"
	"github.com/spatial-flow/spatial-flow/gateway/overview"
	"github.com/spatial-flow/spatial-flow/gateway/predict"
	"github.com/spatial-flow/spatial-flow/gateway/web"
)

//go:embed openapi.yaml
var openAPI []byte

// Config is the settings of all requests.
type Config struct {
	// Origins are patterns of hosts whose pages may ask, and by whose names a gateway on the loopback address may be called.
	Origins      []string
	WriteTimeout time.Duration // for a caller to take its answer
}

// API is what is answered by HTTP.
type API struct {
	cfg      Config
	metrics  *metrics
	live     *live.Server
	predict  *predict.Predictor
	overview *overview.Observer
}

// New makes the API of the rooms that are given.
func New(cfg Config, registry prometheus.Registerer, refused *prometheus.CounterVec, l *live.Server, p *predict.Predictor, o *overview.Observer) *API {
	return &API{cfg: cfg, metrics: newMetrics(registry, refused), live: l, predict: p, overview: o}
}

// Handler is everything under the gateway's address; websockets end with serving, pictures that are asked for with work.
func (a *API) Handler(serving, work context.Context) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ws", func(w http.ResponseWriter, r *http.Request) {
		if err := a.live.ServeViewer(serving, w, r); err != nil {
			w.Header().Set("Retry-After", "5")
			writeError(w, http.StatusServiceUnavailable, err.Error())
		}
	})
	mux.HandleFunc("GET /api/v1/status", a.serveStatus)
	mux.HandleFunc("GET /api/v1/sources", a.serveSources)
	mux.HandleFunc("GET /api/v1/sources/{source}/scene", a.serveScene)
	mux.Handle("POST /predict", a.sameOrigin(a.servePredict(work)))
	mux.HandleFunc("/predict", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", http.MethodPost)
		writeError(w, http.StatusMethodNotAllowed, "/predict takes POST only")
	})
	for _, door := range []string{"/ws", "/api/v1/status", "/api/v1/sources", "/api/v1/sources/{source}/scene"} {
		mux.HandleFunc(door, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", "GET, HEAD")
			writeError(w, http.StatusMethodNotAllowed, fmt.Sprintf("%s takes GET only", r.URL.Path))
		})
	}
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, http.StatusNotFound, "no such door: there are /api/v1/status, /api/v1/sources, /api/v1/sources/{source}/scene and /predict; /openapi.yaml describes them")
	})
	mux.HandleFunc("GET /openapi.yaml", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/yaml")
		_, _ = w.Write(openAPI) // fails when the caller is gone
	})
	mux.Handle("/", web.New())
	return a.observe(a.ownHost(mux))
}

// serveStatus answers GET /api/v1/status with the overview.
func (a *API) serveStatus(w http.ResponseWriter, _ *http.Request) {
	data, err := a.overview.Encoded()
	if err != nil {
		writeError(w, http.StatusInternalServerError, "the status can't be encoded")
		return
	}
	writeJSON(w, http.StatusOK, json.RawMessage(data))
}

// servePredict answers POST /predict until ctx ends.
func (a *API) servePredict(ctx context.Context) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		prediction, err := a.predict.Predict(ctx, w, r)
		if err != nil {
			a.refuse(w, err)
			return
		}
		writeJSON(w, http.StatusOK, prediction)
	}
}

func (a *API) refuse(w http.ResponseWriter, err error) {
	var no predict.Refusal
	if !errors.As(err, &no) {
		no = predict.Refusal{Code: http.StatusInternalServerError, Reason: reasonFailed, Text: err.Error()}
	}
	a.metrics.refuse(doorPredict, no.Reason)
	if no.Code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	writeError(w, no.Code, no.Text)
}

// serveSources answers GET /api/v1/sources with what the status says.
func (a *API) serveSources(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, a.live.Status())
}

// serveScene answers GET /api/v1/sources/{source}/scene with the newest scene, without its depth map.
func (a *API) serveScene(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("source")
	scene, known, names := a.live.Newest(name)
	switch {
	case scene != nil:
		writeJSON(w, http.StatusOK, scene)
	case known:
		writeError(w, http.StatusNotFound, fmt.Sprintf("source %q has no scene yet", name))
	case len(names) == 0:
		writeError(w, http.StatusNotFound, fmt.Sprintf("no source %.80q: no source is known yet", name))
	default:
		writeError(w, http.StatusNotFound, fmt.Sprintf("no source %.80q: known are %s", name, strings.Join(names, ", ")))
	}
}
