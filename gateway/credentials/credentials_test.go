package credentials_test

import (
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spatial-flow/spatial-flow/client"
	"github.com/spatial-flow/spatial-flow/gateway/credentials"
)

// What is wrong is said in a line that names the flag, and never the token.
func TestFlags(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer sf_good" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"reason":"token_wrong","detail":"the token is not known"}`)
			return
		}
		_, _ = io.WriteString(w, `{"type":"status","sources":[]}`)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // who does not believe it
	server.StartTLS()
	t.Cleanup(server.Close)
	folder := t.TempDir()
	file := func(name, data string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca := file("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	good, bad := file("good", "sf_good\n"), file("bad", "sf_bad\n")
	for name, test := range map[string]struct {
		flags credentials.Flags
		want  []string // none: it works
	}{
		"good":      {credentials.Flags{TokenFile: good, GatewayCA: ca}, nil},
		"no token":  {credentials.Flags{GatewayCA: ca}, []string{"no valid token", "answers 401: the token is not known", "(--token-file FILE gives one)"}},
		"bad token": {credentials.Flags{TokenFile: bad, GatewayCA: ca}, []string{"no valid token", "(--token-file " + bad + ")"}},
		"no file":   {credentials.Flags{TokenFile: filepath.Join(folder, "none"), GatewayCA: ca}, []string{"no valid token", "none: no such file"}},
		"empty":     {credentials.Flags{TokenFile: file("empty", "\n"), GatewayCA: ca}, []string{"no valid token", "empty is empty"}},
		"unknown":   {credentials.Flags{TokenFile: good}, []string{"unknown authority", "(--gateway-ca FILE names its authority)"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options, err := test.flags.Options()
			if err != nil {
				t.Fatal(err)
			}
			_, err = client.Dial(t.Context(), server.URL, options)
			if len(test.want) == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !credentials.Final(err) {
				t.Fatalf("%v is worth another try", err)
			}
			text := test.flags.Explain(err).Error()
			for _, want := range test.want {
				if !strings.Contains(text, want) || strings.Contains(text, "\n") || strings.Contains(text, "sf_") {
					t.Errorf("%q, want a line with %q", text, want)
				}
			}
		})
	}
	for _, path := range []string{filepath.Join(folder, "none"), good} {
		if _, err := (credentials.Flags{GatewayCA: path}).Options(); !errors.Is(err, credentials.ErrCredentials) || !strings.Contains(err.Error(), "--gateway-ca") {
			t.Errorf("%s: %v", path, err)
		}
	}
	secret := "sf_" + strings.Repeat("A", 43)
	if _, err := (credentials.Flags{TokenFile: secret}).Options(); !errors.Is(err, credentials.ErrCredentials) || strings.Contains(err.Error(), "sf_") {
		t.Errorf("a token in the place of its file: %v", err)
	}
	if err := errors.New("away"); credentials.Final(err) || (credentials.Flags{}).Explain(err) != err {
		t.Error("that nobody answers is no matter of credentials")
	}
}
