package rest

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"
)

// ownHost answers only who calls the gateway by one of its names and is no page of another host, whatever is asked for: a
// page whose name was made to resolve to the gateway (DNS rebinding) would else read what only those near it may see.
func (a *API) ownHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !a.knownHost(r.Host) {
			a.metrics.refuse(doorHTTP, reasonHost)
			writeProblem(w, r, http.StatusForbidden, reasonHost, fmt.Sprintf("host %.80q is not this gateway's: name it with --hosts", r.Host))
			return
		}
		origin := r.Header.Get("Origin")
		if origin != "" && !a.knownOrigin(origin, r.Host) {
			a.metrics.refuse(doorHTTP, reasonOrigin)
			writeProblem(w, r, http.StatusForbidden, reasonOrigin, fmt.Sprintf("pages of %.80q may not ask: name their host with --origins", origin))
			return
		}
		if origin != "" && a.share(w, r, origin) {
			return
		}
		next.ServeHTTP(w, r)
	})
}

// What a preflight is told: what pages of other hosts may ask with, and for how many seconds they need not ask again (Fetch standard, CORS
// protocol).
const (
	sharedMethods = "GET, HEAD, POST, PUT, DELETE"
	sharedHeaders = "Content-Type, Accept, Authorization"
	sharedFor     = "600"
)

// share lets a page of another host, which may ask, read what is answered, and answers its preflight.
func (a *API) share(w http.ResponseWriter, r *http.Request, origin string) (answered bool) {
	w.Header().Add("Vary", "Origin")
	w.Header().Set("Access-Control-Allow-Origin", origin)
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	w.Header().Set("Access-Control-Allow-Methods", sharedMethods)
	w.Header().Set("Access-Control-Allow-Headers", sharedHeaders)
	w.Header().Set("Access-Control-Max-Age", sharedFor)
	w.WriteHeader(http.StatusNoContent)
	return true
}

// knownHost says whether the gateway may be called so: an address is no name that could be made to resolve to it.
func (a *API) knownHost(host string) bool {
	name := withoutPort(host)
	if strings.EqualFold(name, "localhost") {
		return true
	}
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return true
	}
	return named(a.cfg.Hosts, host) || named(a.cfg.Origins, host)
}

// knownOrigin says whether a page is the gateway's own, as it is called here, or one of those that may ask.
func (a *API) knownOrigin(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && (strings.EqualFold(u.Host, host) || named(a.cfg.Origins, u.Host))
}

// named says whether a pattern names a host, with or without its port.
func named(patterns []string, host string) bool {
	host = strings.ToLower(host)
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		pattern = strings.ToLower(pattern)
		byName, _ := path.Match(pattern, withoutPort(host)) // the settings' Validate has tried the pattern
		whole, _ := path.Match(pattern, host)
		return byName || whole
	})
}

func withoutPort(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return host
}
