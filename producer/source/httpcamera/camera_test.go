package httpcamera_test

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"regexp"
	"strings"
)

var parameter = regexp.MustCompile(`(\w+)=("([^"]*)"|[^, ]+)`)

// knows says whether a request is of who knows the password, as a camera finds out.
func knows(r *http.Request, user, password string) bool {
	if u, p, ok := r.BasicAuth(); ok {
		return u == user && p == password
	}
	header, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Digest ")
	if !ok {
		return false
	}
	p := map[string]string{}
	for _, m := range parameter.FindAllStringSubmatch(header, -1) {
		p[m[1]] = strings.Trim(m[2], `"`)
	}
	hash := func(parts ...string) string {
		text := strings.Join(parts, ":")
		if strings.HasPrefix(p["algorithm"], "SHA-256") {
			sum := sha256.Sum256([]byte(text))
			return hex.EncodeToString(sum[:])
		}
		sum := md5.Sum([]byte(text))
		return hex.EncodeToString(sum[:])
	}
	secret := hash(user, "cam", password)
	if strings.HasSuffix(p["algorithm"], "-sess") {
		secret = hash(secret, "abc", p["cnonce"])
	}
	about := hash(r.Method, r.URL.RequestURI())
	want := hash(secret, "abc", about)
	if p["qop"] != "" {
		want = hash(secret, "abc", p["nc"], p["cnonce"], "auth", about)
	}
	return p["username"] == user && p["nonce"] == "abc" && p["uri"] == r.URL.RequestURI() && p["response"] == want
}
