// Package address takes the URLs of cameras apart as people write them, with passwords that hold any character, and says
// what of a URI may be shown.
package address

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// ErrAddress is returned when a URL names no camera.
var ErrAddress = errors.New("bad camera address")

// Address is where a camera is, and who asks it.
type Address struct {
	Scheme         string // rtsp, rtsps, http or https
	Host           string // name or IP address, and :port where one is given
	Path           string // as it was written, with its query; empty, or it begins with / or ?
	User, Password string // as the camera knows them
}

// schemes are the URIs of cameras on a network.
var schemes = []string{"rtsp", "rtsps", "http", "https"}

// IsCamera says whether a URI is that of a camera on a network.
func IsCamera(uri string) bool {
	kind, _, found := strings.Cut(uri, "://")
	for _, scheme := range schemes {
		if found && strings.EqualFold(kind, scheme) {
			return true
		}
	}
	return false
}

// Parse takes a URL apart. All between :// and the last @ is user:password. A / ? or # may stand in it; then it is taken as it
// stands. Else it is percent-decoded where it is validly encoded, so that %2F is a / too. ${NAME} is the variable of that name,
// literally, which lookup knows. An @ of the path belongs to the path when what stands before it can be no password: when it
// holds no colon, or begins with a host that has a dot.
//
// [ErrAddress] is returned, without the URL, when a variable is not set or the host is none.
func Parse(uri string, lookup func(name string) (string, bool)) (Address, error) {
	scheme, rest, _ := strings.Cut(uri, "://")
	a := Address{Scheme: strings.ToLower(scheme)}
	who, rest, given := credentials(rest)
	if given {
		decode := !strings.ContainsAny(who, "/?#")
		user, password, _ := strings.Cut(who, ":")
		var err, errPassword error
		a.User, err = expand(user, lookup, decode)
		a.Password, errPassword = expand(password, lookup, decode)
		if err := errors.Join(err, errPassword); err != nil {
			return Address{}, err
		}
	}
	rest, err := expand(rest, lookup, false)
	if err != nil {
		return Address{}, err
	}
	end := authorityEnd(rest)
	a.Host, a.Path = rest[:end], rest[end:]
	if i := strings.IndexByte(a.Path, '#'); i >= 0 { // a fragment is no business of the camera's
		a.Path = a.Path[:i]
	}
	if !isHost(a.Host) {
		return Address{}, fmt.Errorf("%w: after :// or the last @ there is no host, or host:port", ErrAddress)
	}
	return a, nil
}

// URL is the address without user and password.
func (a Address) URL() *url.URL {
	if u, err := url.Parse(a.Scheme + "://" + a.Host + a.Path); err == nil {
		return u
	}
	path, query, _ := strings.Cut(a.Path, "?")
	return &url.URL{Scheme: a.Scheme, Host: a.Host, Path: path, RawQuery: query}
}

// authorityEnd is where host and port end.
func authorityEnd(rest string) int {
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		return i
	}
	return len(rest)
}

// credentials cuts user:password off what follows ://.
func credentials(rest string) (who, where string, given bool) {
	at := strings.LastIndexByte(rest, '@')
	if at < 0 {
		return "", rest, false
	}
	authority := rest[:authorityEnd(rest)]
	if !strings.Contains(authority, "@") {
		host, _, _ := strings.Cut(authority, ":")
		dotted := isHost(authority) && (strings.ContainsAny(host, ".[") || strings.EqualFold(host, "localhost"))
		if dotted || !strings.Contains(rest[:at], ":") {
			return "", rest, false
		}
	}
	return rest[:at], rest[at+1:], true
}

// isHost says whether text is a host, or host:port.
func isHost(text string) bool {
	u, err := url.Parse("rtsp://" + text + "/")
	if err != nil || u.Host != text || u.Hostname() == "" || strings.ContainsAny(text, " \t\r\n%\\\"<>^`{|}$") {
		return false
	}
	if strings.HasSuffix(text, ":") {
		return false
	}
	port := u.Port()
	n, err := strconv.Atoi(port)
	return port == "" || err == nil && n > 0 && n < 1<<16
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// expand puts variables in, and percent-decodes what stands between them if it can be.
func expand(text string, lookup func(string) (string, bool), decode bool) (string, error) {
	var out strings.Builder
	plain := func(part string) {
		if decoded, err := url.PathUnescape(part); decode && err == nil {
			part = decoded
		}
		out.WriteString(part)
	}
	end := 0
	for _, m := range variable.FindAllStringSubmatchIndex(text, -1) {
		plain(text[end:m[0]])
		name := text[m[2]:m[3]]
		value, ok := lookup(name)
		if !ok {
			return "", fmt.Errorf("%w: the environment has no variable %s", ErrAddress, Shorten(name))
		}
		out.WriteString(value)
		end = m[1]
	}
	plain(text[end:])
	return out.String(), nil
}
