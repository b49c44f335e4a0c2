package client_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/spatial-flow/spatial-flow/client"
	"github.com/spatial-flow/spatial-flow/client/api"
)

// guarded is a handler for who has the token; others get the problem that a gateway answers.
func guarded(token string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer "+token && !strings.Contains(r.URL.String(), token) {
			next.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"status":401,"reason":"token_wrong","detail":"the token is not known"}`)
	})
}

// The token goes in a header with every question and every connection, as it is then.
func TestToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /base/api/v1/sources", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"type":"status","sources":[]}`) })
		mux.HandleFunc("GET /base/api/v1/caller", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"name":"wall","may":["view"],"sources":["cam*"],"expires":"2027-01-31T00:00:00Z"}`)
		})
		mux.HandleFunc("POST /base/api/v1/predict", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"reason":"not_allowed","detail":"wall may not predict"}`)
		})
		mux.Handle("GET /base/ws", viewers(t, func(_ int, v viewed) {
			if strings.Contains(string(v.asks), "sf_") {
				t.Errorf("asked for %s", v.asks)
			}
			v.scene("a", 1, 1, 0, 0)
			v.gone()
		}))
		token := ""
		c := ask(t, guarded("sf_good", mux), client.Options{Token: func() (string, error) {
			if token == "none" {
				return "", errors.New("none there")
			}
			return token, nil
		}})
		var p *api.Problem
		for _, token = range []string{"", "sf_bad"} {
			if _, err := c.Status(t.Context()); !errors.Is(err, client.ErrToken) || !errors.As(err, &p) || p.Reason != "token_wrong" || strings.Contains(err.Error(), "sf_") {
				t.Errorf("%q: %v", token, err)
			}
		}
		for _, token = range []string{"none", "sf_x\r\nHost: y", "sf_ x", "sf_é", strings.Repeat("x", 4097)} {
			if _, err := c.Status(t.Context()); !errors.Is(err, client.ErrToken) || errors.As(err, &p) || strings.Contains(err.Error(), "sf_") {
				t.Errorf("%.20q: %v", token, err)
			}
		}
		token = "sf_good"
		if _, err := c.Status(t.Context()); err != nil {
			t.Error(err)
		}
		if caller, err := c.Caller(t.Context()); err != nil || caller.Name != "wall" || !slices.Equal(caller.May, []string{api.MayView}) || caller.Expires.Year() != 2027 {
			t.Errorf("%+v, %v", caller, err)
		}
		if _, err := c.Predict(t.Context(), []byte("JPEG"), client.Question{}); errors.Is(err, client.ErrToken) || !errors.As(err, &p) || p.Status != http.StatusForbidden {
			t.Errorf("what a good token may not do: %v", err)
		}
		for m, err := range c.Scenes(t.Context(), "cam1") {
			if err != nil || m.Frame.Seq != 1 {
				t.Errorf("%v, %v", m, err)
			}
			break
		}
	})
}

// A token that the gateway never took is not sent again; what a token may not do is not asked for again.
func TestTokenRefused(t *testing.T) {
	t.Parallel()
	ends := func(code websocket.StatusCode, reason string) func(t *testing.T) http.Handler {
		return func(t *testing.T) http.Handler {
			return viewers(t, func(_ int, v viewed) { _ = v.conn.Close(code, reason) })
		}
	}
	for name, test := range map[string]struct {
		handler func(t *testing.T) http.Handler
		token   bool   // that is what is wrong
		want    string // the problem's reason
	}{
		"by HTTP":      {func(*testing.T) http.Handler { return guarded("sf_good", nil) }, true, "token_wrong"},
		"missing":      {ends(3000, "token_missing: give a token"), true, "token_missing"},
		"expired":      {ends(3000, "token_expired: it ended yesterday"), true, "token_expired"},
		"without word": {ends(3000, ""), true, ""},
		"not allowed":  {ends(3003, "not_allowed: wall may not view"), false, "not_allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := ask(t, test.handler(t), client.Options{Token: func() (string, error) { return "sf_bad", nil }})
				said, begun := 0, time.Now()
				for event, err := range c.Events(t.Context(), api.Watch{}) {
					var p *api.Problem
					if said++; event != (client.Event{}) || errors.Is(err, client.ErrToken) != test.token || !errors.As(err, &p) || p.Reason != test.want {
						t.Errorf("%+v, %v", event, err)
					}
				}
				if said != 1 || time.Since(begun) > time.Second {
					t.Errorf("said %d times in %v", said, time.Since(begun))
				}
			})
		})
	}
}

// A token that is withdrawn while somebody watches is sent no more often than every 30 s; another one at once.
func TestTokenWithdrawn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		valid, token := "sf_1", "sf_1"
		var withdrawn, tried time.Time
		views := viewers(t, func(n int, v viewed) {
			v.scene("a", uint64(n), n, 0, 0)
			left := v.conn.CloseRead(t.Context())
			select {
			case <-left.Done():
			case <-time.After(time.Minute):
				withdrawn = time.Now()
				_ = v.conn.Close(3000, "token_wrong: it was withdrawn")
			}
		})
		c := ask(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if again := time.Since(tried); token != "sf_wrong" && r.Header.Get("Authorization") != "Bearer "+valid && again < 30*time.Second {
				t.Errorf("a token that was refused is sent again after %v", again)
			}
			tried = time.Now()
			guarded(valid, views).ServeHTTP(w, r)
		}), client.Options{Token: func() (string, error) { return token, nil }})
		scenes, refused := 0, 0
		for event, err := range c.Events(t.Context(), api.Watch{}) {
			switch {
			case err != nil:
				t.Fatal(err)
			case event.Scene != nil:
				scenes++
				switch after := time.Since(withdrawn); scenes {
				case 1:
					token, valid = "sf_2", "sf_2" // both are changed
				case 2:
					if after > time.Second {
						t.Errorf("another token is tried %v after the first was withdrawn", after)
					}
					valid = "sf_3" // the gateway's alone
				default:
					return
				}
				continue
			case !errors.Is(event.Lost, client.ErrToken):
				t.Errorf("lost for %v", event.Lost)
			}
			switch refused++; refused {
			case 4: // twice after it was withdrawn
				token = "sf_wrong"
			case 5:
				token = "sf_3"
			}
		}
		t.Errorf("ended after %d scenes, refused %d times", scenes, refused)
	})
}

func TestTokenFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	read := client.TokenFile(path)
	if _, err := read(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	for data, want := range map[string]string{"sf_1": "sf_1", " sf_2\r\n": "sf_2", "\n": "", strings.Repeat("x", 9000): strings.Repeat("x", 4099)} {
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := read(); got != want || (err != nil) != (want == "") {
			t.Errorf("%.20q is read as %.20q, %v", data, got, err)
		}
	}
}

// A gateway with a certificate of a private authority is believed by who knows the authority.
func TestTLS(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ws" {
			conn, err := websocket.Accept(w, r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.CloseNow()
			viewed{t, conn, nil}.scene("a", 1, 1, 0, 0)
			<-conn.CloseRead(r.Context()).Done()
			return
		}
		fmt.Fprint(w, `{"type":"status","sources":[]}`)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // who does not believe it
	server.StartTLS()
	t.Cleanup(server.Close)
	if _, err := client.Dial(t.Context(), server.URL, client.Options{}); !errors.As(err, new(x509.UnknownAuthorityError)) {
		t.Errorf("an authority that is not known: %v", err)
	}
	known := x509.NewCertPool()
	known.AddCert(server.Certificate())
	c, err := client.Dial(t.Context(), server.URL, client.Options{TLS: &tls.Config{RootCAs: known}})
	if err != nil {
		t.Fatal(err)
	}
	for m, err := range c.Scenes(t.Context(), "cam1") {
		if err != nil || m.Frame.Seq != 1 {
			t.Errorf("%v, %v", m, err)
		}
		break
	}
}
