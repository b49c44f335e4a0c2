package gateway_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	programs "github.com/spatial-flow/spatial-flow/client"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/flow/telemetry"
	"github.com/spatial-flow/spatial-flow/flow/telemetry/tlstest"
	"github.com/spatial-flow/spatial-flow/gateway"
)

// secured runs a gateway with a certificate for host, in whose place its address is called.
func (b bench) secured(t *testing.T, host string) (r *runner, a *tlstest.Authority, cert string) {
	t.Helper()
	a = tlstest.New(t, "authority")
	cert, key := a.Issue(host)
	return b.startReady(t, func(c *gateway.Config) { c.TLSCert, c.TLSKey = cert, key }), a, cert
}

// Everybody comes by TLS: openssl, curl by both versions of HTTP, our own client, and a browser, whose page opens its websocket so.
func TestTLS(t *testing.T) {
	t.Parallel()
	b := newProvisionedBench(t)
	r, a, cert := b.secured(t, "127.0.0.1")
	b.publish(t, "cam1", "s", 1)
	url := "https://" + r.address

	out, err := exec.Command("openssl", "s_client", "-connect", r.address, "-CAfile", a.CA, "-verify_return_error", "-verify_ip", "127.0.0.1", "-brief").CombinedOutput()
	if said := string(out); err != nil || !strings.Contains(said, "Verification: OK") || !strings.Contains(said, "TLSv1.3") {
		t.Errorf("openssl: %v\n%s", err, out)
	}
	for _, version := range []string{"--http1.1", "--http2"} {
		out, err := exec.Command("curl", "-sSi", version, "--cacert", a.CA, url+"/api/v1/sources").CombinedOutput()
		if said := strings.ToLower(string(out)); err != nil || !strings.Contains(said, " 200") || !strings.Contains(said, "strict-transport-security: max-age=31536000") || !strings.Contains(said, `"cam1"`) {
			t.Errorf("curl %s: %v\n%s", version, err, out)
		}
	}
	b.answerPredict(t, &models{})
	posted := filepath.Join(t.TempDir(), "picture.jpg")
	if err := os.WriteFile(posted, picture(t, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	r.eventually("answer to a picture by HTTP/2", func() bool {
		out, err := exec.Command("curl", "-sSf", "--http2", "--cacert", a.CA, "-F", "file=@"+posted, url+"/api/v1/predict").Output()
		return err == nil && strings.Contains(string(out), "person")
	})
	if out, err := exec.Command("curl", "-sS", url+"/").CombinedOutput(); err == nil || !strings.Contains(string(out), "certificate") {
		t.Errorf("curl that does not know the authority: %v\n%s", err, out)
	}
	if out, err := exec.Command("curl", "-sS", "http://"+r.address+"/").CombinedOutput(); err != nil || !strings.Contains(string(out), "HTTP request to an HTTPS server") {
		t.Errorf("curl without TLS: %v\n%s", err, out)
	}
	r.eventually("count of refused handshakes", func() bool {
		return r.metric("spatialflow_refused_total", "door", "http", "reason", telemetry.ReasonHandshake) == 2
	})

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	transport := &http.Transport{TLSClientConfig: a.Client()}
	defer transport.CloseIdleConnections()
	c, err := programs.Dial(ctx, url, programs.Options{HTTP: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	for scene, err := range c.Scenes(ctx, "cam1") {
		if err != nil {
			t.Error(err)
		} else if len(scene.Picture) == 0 {
			continue // the one before its picture
		}
		break
	}
	if ctx.Err() != nil {
		t.Error("the client has no scene")
	}

	page := newBrowser(t, "ignore-certificate-errors-spki-list", tlstest.Pin(t, cert))
	page.open(url + "/")
	page.await(`document.body.dataset.connection === "open" && document.body.dataset.seq === "1"`)
	b.publish(t, "cam1", "s", 2)
	page.await(`document.body.dataset.seq === "2" && document.body.dataset.picture === "shown"`)
	if scheme := ask[string](page, `location.protocol + performance.getEntriesByType("navigation")[0].nextHopProtocol`); scheme != "https:h2" {
		t.Errorf("the page came by %s", scheme)
	}
}

// What comes as a stream by HTTP/2 goes on after a silence longer than the time that a caller has to take what is written, and a page
// that is asked for as a websocket is refused in words that this version has.
func TestStreamsByHTTP2(t *testing.T) {
	t.Parallel()
	const within = time.Second
	b := newProvisionedBench(t)
	a := tlstest.New(t, "authority")
	cert, key := a.Issue("127.0.0.1")
	r := b.startReady(t, func(c *gateway.Config) { c.TLSCert, c.TLSKey, c.Live.WriteTimeout = cert, key, within })
	b.publish(t, "cam1", "s", 1)
	transport := &http.Transport{TLSClientConfig: a.Client(), ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	get := func(path string) *http.Response {
		t.Helper()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+r.address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := transport.RoundTrip(request)
		if err != nil || answer.ProtoMajor != 2 {
			t.Fatalf("%s: %v, %v", path, answer, err)
		}
		t.Cleanup(func() { answer.Body.Close() })
		return answer
	}
	r.eventually("scene", func() bool { return get("/api/v1/sources/cam1/scene").StatusCode == http.StatusOK })
	for _, path := range []string{"scenes", "mjpeg"} {
		answer := get("/api/v1/sources/cam1/" + path)
		read := func() {
			t.Helper()
			if _, err := io.ReadAtLeast(answer.Body, make([]byte, 64<<10), 1); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
		read()
		time.Sleep(within * 3 / 2) // silence
		b.publish(t, "cam1", "s", map[string]uint64{"scenes": 2, "mjpeg": 3}[path])
		read()
	}
	if answer := get("/ws"); answer.StatusCode != http.StatusUpgradeRequired || answer.Header.Get("Upgrade") != "" {
		t.Errorf("/ws: %v", answer)
	}
}

// localhost is other programs' name too: a browser that came to the gateway there must still reach them.
func TestStrictTransportIsNotForLocalhost(t *testing.T) {
	t.Parallel()
	r, a, _ := newProvisionedBench(t).secured(t, "localhost")
	_, port, _ := strings.Cut(r.address, ":")
	out, err := exec.Command("curl", "-sSi", "--cacert", a.CA, "https://localhost:"+port+"/").CombinedOutput()
	if said := strings.ToLower(string(out)); err != nil || !strings.Contains(said, " 200") || strings.Contains(said, "strict-transport") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestWrongCertificate(t *testing.T) {
	t.Parallel()
	cert, _ := tlstest.New(t, "one").Issue("127.0.0.1")
	_, key := tlstest.New(t, "other").Issue("127.0.0.1")
	var cfg gateway.Config
	if err := service.Defaults(&cfg); err != nil {
		t.Fatal(err)
	}
	cfg.TLSCert, cfg.TLSKey = cert, key
	if err := cfg.Validate(); !errors.Is(err, gateway.ErrConfig) || !errors.Is(err, telemetry.ErrCertificate) || !strings.Contains(err.Error(), key) {
		t.Errorf("the key of another: %v", err)
	}
}
