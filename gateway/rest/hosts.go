package rest

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
)

// ownHost refuses requests for another host's name that reach a gateway on the loopback address: a page whose name was
// made to resolve there (DNS rebinding) would else read what only this machine's users may see.
func (a *API) ownHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok && local.IP.IsLoopback() && !a.knownHost(r.Host) {
			writeError(w, http.StatusForbidden, fmt.Sprintf("host %.80q is not this gateway's: name it with --origins", r.Host))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (a *API) knownHost(hostport string) bool {
	host := hostport
	if name, _, err := net.SplitHostPort(hostport); err == nil {
		host = name
	}
	if host == "localhost" || net.ParseIP(strings.Trim(host, "[]")) != nil {
		return true
	}
	return a.namedOrigin(hostport)
}

// namedOrigin says whether --origins names a host, with or without its port.
func (a *API) namedOrigin(hostport string) bool {
	host := hostport
	if name, _, err := net.SplitHostPort(hostport); err == nil {
		host = name
	}
	return slices.ContainsFunc(a.cfg.Origins, func(pattern string) bool {
		byName, _ := path.Match(strings.ToLower(pattern), strings.ToLower(host)) // Validate has tried the pattern
		whole, _ := path.Match(strings.ToLower(pattern), strings.ToLower(hostport))
		return byName || whole
	})
}

// sameOrigin refuses what another host's page sends; programs send no Origin.
func (a *API) sameOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		if u, err := url.Parse(origin); origin != "" && (err != nil || u.Host != r.Host && !a.namedOrigin(u.Host)) {
			a.metrics.refuse(doorPredict, reasonOrigin)
			writeError(w, http.StatusForbidden, fmt.Sprintf("pages of %.80q may not ask: name their host with --origins", origin))
			return
		}
		next.ServeHTTP(w, r)
	})
}
