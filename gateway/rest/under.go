package rest

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
)

// ErrBasePath is returned when a base path is none.
var ErrBasePath = errors.New("bad base path")

var basePath = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)+$`)

// ValidBasePath returns [ErrBasePath] unless everything can lie under a path: empty, or like /spatial-flow.
func ValidBasePath(base string) error {
	if base != "" && (!basePath.MatchString(base) || path.Clean(base) != base) {
		return fmt.Errorf("%w: %.80q: want /name, or /name/name, of letters, digits, . _ ~ and -", ErrBasePath, base)
	}
	return nil
}

// under takes the base path off what is asked for, and answers what does not lie under it.
func (a *API) under(next http.Handler) http.Handler {
	base := a.cfg.BasePath
	if base == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == base {
			to := url.URL{Path: path.Base(base) + "/", RawQuery: r.URL.RawQuery} // wherever the gateway lies besides
			w.Header().Set("Location", to.String())
			w.WriteHeader(http.StatusPermanentRedirect)
			return
		}
		within, ok := strings.CutPrefix(r.URL.Path, base)
		if !ok || !clean(within) { // what is not clean the mux would redirect to where base is not
			writeProblem(w, r, http.StatusNotFound, reasonNotFound, fmt.Sprintf("there is no %.80q: all is under %s/", r.URL.Path, base))
			return
		}
		inner := *r
		inner.URL = new(url.URL)
		*inner.URL = *r.URL
		inner.URL.Path, inner.URL.RawPath = within, strings.TrimPrefix(r.URL.RawPath, base)
		next.ServeHTTP(w, &inner)
		r.Pattern = inner.Pattern // for the metrics
	})
}

// clean says whether a path begins with / and is as short as it can be.
func clean(text string) bool {
	short := path.Clean(text)
	if short != "/" && strings.HasSuffix(text, "/") {
		short += "/"
	}
	return strings.HasPrefix(text, "/") && short == text
}

// openAPIUnder is the document of what lies under a base path.
func openAPIUnder(base string) []byte {
	return bytes.Replace(openAPI, []byte("servers:\n  - url: /\n"), []byte("servers:\n  - url: "+base+"/\n"), 1)
}
