package standalone

import (
	"bytes"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow/service"
)

// What reads a gateway gives it a token, and believes a private authority; without, one line says what is missing.
func TestReadersGiveATokenOverTLS(t *testing.T) {
	t.Parallel()
	base := running(t, func(u *Up) {
		u.Sources, u.Mode = []string{"cam=" + pictures(t, 30) + "#mode=live&fps=20&loop=true"}, ""
	})
	gateway, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(gateway) }, ErrorLog: log.New(io.Discard, "", 0)}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") == "Bearer sf_view" && r.Method == http.MethodPost:
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"reason":"not_allowed","detail":"view may not predict"}`)
		case r.Header.Get("Authorization") != "Bearer sf_view" && r.Header.Get("Authorization") != "Bearer sf_all":
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"reason":"token_wrong","detail":"the token is not known"}`)
		default:
			proxy.ServeHTTP(w, r)
		}
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	folder := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca := write("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	token := func(text string) string { return write(text, []byte(text+"\n")) }
	picture := write("picture.jpg", grey(t, 320, 240, 90))
	const works = ""
	for _, test := range []struct{ name, token, ca, watch, predict string }{
		{"all", token("sf_all"), ca, works, works},
		{"view alone", token("sf_view"), ca, works, "the gateway answers 403: view may not predict"},
		{"no token", "", ca, "(--token-file FILE gives one)", "(--token-file FILE gives one)"},
		{"a wrong one", token("sf_wrong"), ca, "the gateway answers 401: the token is not known", "the gateway answers 401: the token is not known"},
		{"no authority", token("sf_all"), "", "(--gateway-ca FILE names its authority)", "(--gateway-ca FILE names its authority)"},
		{"no certificate", token("sf_all"), picture, "holds no certificate", "holds no certificate"},
	} {
		check := func(command string, err error, want string, out *bytes.Buffer) {
			t.Helper()
			switch {
			case want == works && (err != nil || out.Len() == 0):
				t.Errorf("%s: %s: %v\n%s", test.name, command, err, out)
			case want != works && (err == nil || !strings.Contains(err.Error(), want) || strings.ContainsAny(err.Error(), "\n") || strings.Contains(err.Error(), "is a gateway there?")):
				t.Errorf("%s: %s says %v, want %q", test.name, command, err, want)
			}
		}
		var out bytes.Buffer
		w := newWatch(t, "")
		w.Gateway, w.Frames, w.TokenFile, w.GatewayCA = server.URL, 2, test.token, test.ca
		check("watch", w.RunWatch(t.Context(), &out, io.Discard, quiet), test.watch, &out)
		p := new(Predict)
		if err := service.Defaults(p); err != nil {
			t.Fatal(err)
		}
		p.Pictures, p.Gateway, p.TokenFile, p.GatewayCA = []string{picture}, server.URL, test.token, test.ca
		out.Reset()
		check("predict", p.RunPredict(t.Context(), &out, quiet), test.predict, &out)
	}
}
