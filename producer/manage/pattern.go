// Package manage says which sources may be configured at run time, knows the credentials that they are asked with, and answers who
// configures them.
package manage

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"

	"github.com/spatial-flow/spatial-flow/flow/address"
)

// Bounds of --allow-source: alive messages hold the patterns.
const (
	MostPatterns     = 16
	MostPatternBytes = 2048 // of all of them
)

// ErrPattern is returned when a pattern can't be meant.
var ErrPattern = errors.New("bad pattern")

// Pattern says which addresses are meant: SCHEME://HOST, with :PORT and /PATH where only these are, or street:* for generated streets. It
// never means anything local.
type Pattern struct {
	text   string
	street bool
	scheme *regexp.Regexp
	host   *regexp.Regexp
	number bool           // the host is an IP address
	port   string         // empty: any
	path   *regexp.Regexp // nil: any
	query  *regexp.Regexp // of what follows a ?, where the path is not any
}

// shape takes a pattern apart: scheme, host, port, path.
var shape = regexp.MustCompile(`^([a-z*]+)://(\[[0-9a-fA-F:.*]+\]|[A-Za-z0-9._*-]+)(?::([0-9]{1,5}))?(/[^\s#@]*)?$`)

// ParsePattern reads what --allow-source is given. A * stands for any characters of the scheme, of one part of the host between dots, of
// the path or of the query; a host that is nothing but * is any, and a path that ends with * has any query. [ErrPattern] is returned,
// with what mends it, when it is none.
func ParsePattern(text string) (Pattern, error) {
	if text == "street:*" {
		return Pattern{text: text, street: true}, nil
	}
	parts := shape.FindStringSubmatch(text)
	if parts == nil {
		return Pattern{}, fmt.Errorf("%w %q: write rtsp://*, rtsp://10.0.0.*, https://*.cameras.example:8443/live/* or street:*", ErrPattern, address.Redact(text))
	}
	p := Pattern{text: text, scheme: glob(parts[1], "[a-z]*"), port: parts[3]}
	known := false
	for _, scheme := range []string{"rtsp", "rtsps", "http", "https"} {
		known = known || p.scheme.MatchString(scheme)
	}
	if !known {
		return Pattern{}, fmt.Errorf("%w %q: only rtsp, rtsps, http and https can be allowed, and street:*", ErrPattern, text)
	}
	host := strings.ToLower(parts[2])
	p.host, p.number = glob(host, "[^.:]*"), strings.Trim(host, "0123456789.*") == "" || strings.HasPrefix(host, "[")
	if host == "*" {
		p.host, p.number = glob(host, ".*"), false
	}
	if parts[4] != "" {
		path, query, given := strings.Cut(parts[4], "?")
		if !given && strings.HasSuffix(path, "*") {
			query = "*"
		}
		p.path, p.query = glob(path, ".*"), glob(query, ".*")
	}
	return p, nil
}

// glob makes a regular expression of a text in which * stands for any.
func glob(text, any string) *regexp.Regexp {
	parts := strings.Split(text, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("(?s)^" + strings.Join(parts, any) + "$")
}

// String is the pattern as it was given.
func (p Pattern) String() string { return p.text }

// Match says whether the pattern means a URI, which holds no user and no password.
func (p Pattern) Match(uri string) bool {
	if strings.HasPrefix(uri, "street:") || p.street {
		return p.street && strings.HasPrefix(uri, "street:")
	}
	if !address.IsCamera(uri) {
		return false
	}
	a, err := address.Parse(uri, func(string) (string, bool) { return "", false })
	return err == nil && a.User == "" && a.Password == "" && p.MatchURL(a.URL())
}

// ports are where a camera listens that does not say where.
var ports = map[string]string{"rtsp": "554", "rtsps": "322", "http": "80", "https": "443"}

// MatchURL says whether the pattern means the address of a camera, or one that it redirects to.
func (p Pattern) MatchURL(u *url.URL) bool {
	if p.street || ports[u.Scheme] == "" || !p.scheme.MatchString(u.Scheme) {
		return false
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if port == "" {
		port = ports[u.Scheme]
	}
	if p.number && net.ParseIP(host) == nil { // 10.0.0.example is no address that 10.0.0.* means
		return false
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if !p.host.MatchString(host) || p.port != "" && p.port != port {
		return false
	}
	return p.path == nil || !climbs(u) && p.path.MatchString(cmp.Or(u.EscapedPath(), "/")) && p.query.MatchString(u.RawQuery)
}

// climbs says whether a path leaves what it begins with.
func climbs(u *url.URL) bool {
	for part := range strings.FieldsFuncSeq(u.Path, func(r rune) bool { return r == '/' || r == '\\' }) {
		if part, _, _ = strings.Cut(part, ";"); part == ".." || part == "." { // some servers take what follows a ; off
			return true
		}
	}
	return false
}

// Patterns are those of --allow-source.
type Patterns []Pattern

// ParsePatterns returns [ErrPattern] when one can't be meant, or there are too many.
func ParsePatterns(texts []string) (Patterns, error) {
	bytes := 0
	for _, text := range texts {
		bytes += len(text)
	}
	if len(texts) > MostPatterns || bytes > MostPatternBytes {
		return nil, fmt.Errorf("%w: %d of %d bytes together, at most %d of %d", ErrPattern, len(texts), bytes, MostPatterns, MostPatternBytes)
	}
	patterns := make(Patterns, len(texts))
	for i, text := range texts {
		var err error
		if patterns[i], err = ParsePattern(text); err != nil {
			return nil, err
		}
	}
	return patterns, nil
}

// Allow says whether one of them means a URI.
func (ps Patterns) Allow(uri string) bool {
	for _, p := range ps {
		if p.Match(uri) {
			return true
		}
	}
	return false
}

// AllowURL says whether one of them means where a camera redirects to.
func (ps Patterns) AllowURL(u *url.URL) bool {
	for _, p := range ps {
		if p.MatchURL(u) {
			return true
		}
	}
	return false
}

// Texts are the patterns as they were given.
func (ps Patterns) Texts() []string {
	texts := make([]string, len(ps))
	for i, p := range ps {
		texts[i] = p.text
	}
	return texts
}
