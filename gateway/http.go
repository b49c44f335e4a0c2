package gateway

import (
	"context"
	_ "embed" // openapi.yaml
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// contentPolicy lets the page load only from its own gateway, with nothing inline.
const contentPolicy = "default-src 'self'; base-uri 'none'; form-action 'none'; object-src 'none'; frame-ancestors 'none'"

//go:embed openapi.yaml
var openAPI []byte

// handler is everything under the gateway's address; websockets end with serving, pictures that are asked for with work.
func (g *gateway) handler(serving, work context.Context) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ws", g.serveViewers(serving))
	mux.HandleFunc("GET /api/v1/status", g.overview.serve)
	mux.HandleFunc("GET /api/v1/sources", g.serveSources)
	mux.HandleFunc("GET /api/v1/sources/{source}/scene", g.serveScene)
	mux.Handle("POST /predict", g.sameOrigin(g.predict.serve(work)))
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
	mux.Handle("/", newPage())
	return g.observe(g.ownHost(mux))
}

// ownHost refuses requests for another host's name that reach a gateway on the loopback address: a page whose name was
// made to resolve there (DNS rebinding) would else read what only this machine's users may see.
func (g *gateway) ownHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok && local.IP.IsLoopback() && !g.knownHost(r.Host) {
			writeError(w, http.StatusForbidden, fmt.Sprintf("host %.80q is not this gateway's: name it with --origins", r.Host))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (g *gateway) knownHost(hostport string) bool {
	host := hostport
	if name, _, err := net.SplitHostPort(hostport); err == nil {
		host = name
	}
	if host == "localhost" || net.ParseIP(strings.Trim(host, "[]")) != nil {
		return true
	}
	return g.namedOrigin(hostport)
}

// namedOrigin says whether --origins names a host, with or without its port.
func (g *gateway) namedOrigin(hostport string) bool {
	host := hostport
	if name, _, err := net.SplitHostPort(hostport); err == nil {
		host = name
	}
	return slices.ContainsFunc(g.cfg.Origins, func(pattern string) bool {
		byName, _ := path.Match(strings.ToLower(pattern), strings.ToLower(host)) // Validate has tried the pattern
		whole, _ := path.Match(strings.ToLower(pattern), strings.ToLower(hostport))
		return byName || whole
	})
}

// sameOrigin refuses what another host's page sends; programs send no Origin.
func (g *gateway) sameOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		if u, err := url.Parse(origin); origin != "" && (err != nil || u.Host != r.Host && !g.namedOrigin(u.Host)) {
			g.metrics.refuse(doorPredict, reasonOrigin)
			writeError(w, http.StatusForbidden, fmt.Sprintf("pages of %.80q may not ask: name their host with --origins", origin))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// observe counts requests and sets the headers that all answers have.
func (g *gateway) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", contentPolicy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		began := time.Now()
		answer := &answer{ResponseWriter: w, code: http.StatusOK, within: g.cfg.WriteTimeout}
		next.ServeHTTP(answer, r)
		route := "none"
		if r.Pattern != "" {
			_, after, found := strings.Cut(r.Pattern, " ")
			if route = after; !found {
				route = r.Pattern
			}
		}
		g.metrics.requests.WithLabelValues(route, method(r.Method), strconv.Itoa(answer.code)).Inc()
		if route != "/ws" {
			g.metrics.seconds.WithLabelValues(route).Observe(time.Since(began).Seconds())
		}
	})
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

// serveSources answers GET /api/v1/sources with what the status says.
func (g *gateway) serveSources(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, g.hub.currentStatus())
}

// serveScene answers GET /api/v1/sources/{source}/scene with the newest scene, without its depth map.
func (g *gateway) serveScene(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("source")
	scene, known, names := g.hub.newest(name)
	switch {
	case scene != nil:
		writeJSON(w, http.StatusOK, scene.json)
	case known:
		writeError(w, http.StatusNotFound, fmt.Sprintf("source %q has no scene yet", name))
	case len(names) == 0:
		writeError(w, http.StatusNotFound, fmt.Sprintf("no source %.80q: no source is known yet", name))
	default:
		writeError(w, http.StatusNotFound, fmt.Sprintf("no source %.80q: known are %s", name, strings.Join(names, ", ")))
	}
}

func writeError(w http.ResponseWriter, code int, message string) {
	writeJSON(w, code, map[string]string{"error": message})
}

func writeJSON(w http.ResponseWriter, code int, value any) {
	data, err := json.Marshal(value)
	if err != nil {
		code, data = http.StatusInternalServerError, []byte(`{"error":"the answer can't be encoded"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = w.Write(append(data, '\n')) // fails when the caller is gone
}
