package httpcamera

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
)

// login says who asks, in the way that a camera wants it.
type login struct {
	user, password string
	scheme         string // basic or digest; empty: the camera has not asked yet
	parameters     map[string]string
	count          uint32 // requests with this nonce
}

// challenged takes up what an answer of 401 asks for: digest rather than basic. It is false when it is neither, or the same
// as before: what was said then is wrong.
func (l *login) challenged(header http.Header) bool {
	before := l.scheme
	var basic bool
	for _, value := range header.Values("WWW-Authenticate") {
		scheme, rest, _ := strings.Cut(strings.TrimSpace(value), " ")
		switch strings.ToLower(scheme) {
		case "basic":
			basic = true
		case "digest":
			parameters := challenge(rest)
			if algorithm(parameters) == nil {
				continue
			}
			again := before == "digest" && !strings.EqualFold(parameters["stale"], "true")
			l.scheme, l.parameters, l.count = "digest", parameters, 0
			return !again
		}
	}
	if basic {
		l.scheme = "basic"
	}
	return basic && before != "basic"
}

// challenge takes the parameters of a challenge apart: name=value or name="value", with commas between them.
func challenge(text string) map[string]string {
	parameters := map[string]string{}
	for len(parameters) < 32 {
		name, rest, found := strings.Cut(text, "=")
		if !found {
			break
		}
		name, rest = strings.ToLower(strings.Trim(name, " ,\t")), strings.TrimLeft(rest, " \t")
		var value string
		if quoted, ok := strings.CutPrefix(rest, `"`); ok {
			end, escaped := 0, false
			for end < len(quoted) && (escaped || quoted[end] != '"') {
				escaped = !escaped && quoted[end] == '\\'
				end++
			}
			value, text = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(quoted[:end]), quoted[min(end+1, len(quoted)):]
		} else {
			value, text, _ = strings.Cut(rest, ",")
			value = strings.TrimSpace(value)
		}
		parameters[name] = value
	}
	return parameters
}

// algorithm is the hash that a challenge asks for; nil: one that is not known.
func algorithm(parameters map[string]string) func(string) string {
	switch strings.ToUpper(strings.TrimSuffix(strings.ToLower(parameters["algorithm"]), "-sess")) {
	case "", "MD5":
		return func(text string) string { sum := md5.Sum([]byte(text)); return hex.EncodeToString(sum[:]) }
	case "SHA-256":
		return func(text string) string { sum := sha256.Sum256([]byte(text)); return hex.EncodeToString(sum[:]) }
	}
	return nil
}

// authorize says on a request who asks: https://www.rfc-editor.org/rfc/rfc7616 and, without qop, rfc2069.
func (l *login) authorize(r *http.Request) {
	switch l.scheme {
	case "basic":
		r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(l.user+":"+l.password)))
	case "digest":
		r.Header.Set("Authorization", l.digest(r.Method, r.URL.RequestURI(), rand.Text()))
	}
}

func (l *login) digest(method, uri, client string) string {
	hash := algorithm(l.parameters)
	p := l.parameters
	l.count++
	secret := hash(l.user + ":" + p["realm"] + ":" + l.password)
	if strings.HasSuffix(strings.ToLower(p["algorithm"]), "-sess") {
		secret = hash(secret + ":" + p["nonce"] + ":" + client)
	}
	quote := func(text string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"` }
	answer := fmt.Sprintf(`Digest username=%s, realm=%s, nonce=%s, uri=%s`, quote(l.user), quote(p["realm"]), quote(p["nonce"]), quote(uri))
	about := hash(method + ":" + uri)
	if offers := strings.Split(strings.ReplaceAll(p["qop"], " ", ""), ","); p["qop"] != "" && offers[0] != "auth-int" || len(offers) > 1 {
		count := fmt.Sprintf("%08x", l.count)
		answer += fmt.Sprintf(`, qop=auth, nc=%s, cnonce="%s", response="%s"`, count, client, hash(strings.Join([]string{secret, p["nonce"], count, client, "auth", about}, ":")))
	} else {
		answer += fmt.Sprintf(`, response="%s"`, hash(secret+":"+p["nonce"]+":"+about))
	}
	if p["algorithm"] != "" {
		answer += ", algorithm=" + p["algorithm"]
	}
	if opaque, ok := p["opaque"]; ok {
		answer += ", opaque=" + quote(opaque)
	}
	return answer
}
