package telemetry_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/spatial-flow/spatial-flow/flow/telemetry"
	"github.com/spatial-flow/spatial-flow/flow/telemetry/tlstest"
)

// secure is a server with TLS.
type secure struct {
	t       *testing.T
	address string
	log     *safe
	metrics *prometheus.Registry
}

// refused is how often that was, by reason.
func (s *secure) refused(reason string) int {
	return int(s.metric("spatialflow_refused_total", "door", "door", "reason", reason))
}

// metric is one with these labels, name, value, name, value…; 0: there is none.
func (s *secure) metric(name string, labels ...string) float64 {
	s.t.Helper()
	families, err := s.metrics.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var has []string
			for _, pair := range m.GetLabel() {
				has = append(has, pair.GetName(), pair.GetValue())
			}
			if family.GetName() == name && slices.Equal(has, labels) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return 0
}

func serveTLS(t *testing.T, files telemetry.TLSFiles) *secure {
	t.Helper()
	s := &secure{t: t, log: new(safe), metrics: prometheus.NewRegistry()}
	bound, ended := make(chan net.Addr, 1), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	server := telemetry.Server{
		Address: "127.0.0.1:0", TLS: files, Grace: patience, Listening: func(a net.Addr) { bound <- a },
		Log: slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, r.Proto)
		}),
		Metrics: s.metrics, Door: "door",
	}
	go func() { ended <- server.Serve(ctx) }()
	t.Cleanup(func() { cancel(); ends(t, ended) })
	select {
	case a := <-bound:
		s.address = a.String()
	case err := <-ended:
		t.Fatal(err)
	}
	return s
}

// handshake is the certificate that the server has for somebody who believes the authority.
func (s *secure) handshake(a *tlstest.Authority, version uint16) (*x509.Certificate, error) {
	config := a.Client()
	config.MaxVersion = version
	conn, err := tls.Dial("tcp", s.address, config)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0], nil
}

func (s *secure) get(transport *http.Transport, scheme string) (int, string) {
	s.t.Helper()
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport, Timeout: patience}).Get(scheme + "://" + s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

// Who comes by TLS is answered, by HTTP/2 too; who does not is told so, counted, and no line of the log.
func TestTLS(t *testing.T) {
	t.Parallel()
	right, wrong := tlstest.New(t, "right"), tlstest.New(t, "wrong")
	cert, key := right.Issue("127.0.0.1")
	s := serveTLS(t, telemetry.TLSFiles{Cert: cert, Key: key})
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		transport := &http.Transport{TLSClientConfig: right.Client(), ForceAttemptHTTP2: protocol == "HTTP/2.0"}
		if code, said := s.get(transport, "https"); code != http.StatusOK || said != protocol {
			t.Errorf("%s: %d %s", protocol, code, said)
		}
	}
	if _, err := s.handshake(right, tls.VersionTLS12); err != nil {
		t.Errorf("TLS 1.2: %v", err)
	}
	if code, said := s.get(new(http.Transport), "http"); code != http.StatusBadRequest || !strings.Contains(said, "HTTP request to an HTTPS server") {
		t.Errorf("without TLS: %d %s", code, said)
	}
	if _, err := s.handshake(right, tls.VersionTLS11); err == nil {
		t.Error("TLS 1.1 is taken")
	}
	if _, err := s.handshake(wrong, 0); err == nil {
		t.Error("another authority is believed")
	}
	eventually(t, "three are counted", func() bool { return s.refused(telemetry.ReasonHandshake) == 3 })
	for line := range strings.Lines(s.log.String()) {
		if strings.Contains(line, "handshake") && !strings.Contains(line, "level=DEBUG") {
			t.Errorf("the log says %s", line)
		}
	}
}

// A certificate that is changed is taken by the next handshake; while it is half written, wrong or away the old one stays, which is said
// and counted once.
func TestCertificateIsReadAgain(t *testing.T) {
	t.Parallel()
	first, second := tlstest.New(t, "first"), tlstest.New(t, "second")
	dir := t.TempDir()
	files := telemetry.TLSFiles{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}
	put := func(file, from string) {
		t.Helper()
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, key := first.Issue("127.0.0.1")
	put(files.Cert, cert)
	put(files.Key, key)
	s := serveTLS(t, files)
	has := func(a *tlstest.Authority, when string) {
		t.Helper()
		for range 3 {
			if _, err := s.handshake(a, 0); err != nil {
				t.Errorf("%s: %v", when, err)
			}
		}
	}
	has(first, "at the start")
	cert, key = second.Issue("127.0.0.1")
	put(files.Cert, cert)
	has(first, "with the key of before")
	put(files.Key, key)
	has(second, "with its key")
	if err := os.WriteFile(files.Cert, []byte("-----BEGIN"), 0o600); err != nil {
		t.Fatal(err)
	}
	has(second, "half written")
	if err := os.Remove(files.Cert); err != nil {
		t.Fatal(err)
	}
	has(second, "away")
	cert, key = first.Issue("127.0.0.1")
	put(files.Key, key)
	put(files.Cert, cert)
	has(first, "back")
	if wrong, said := s.refused(telemetry.ReasonCertificate), strings.Count(s.log.String(), "stays as it was"); wrong != 3 || said != 3 {
		t.Errorf("counted %d times and said %d times:\n%s", wrong, said, s.log)
	}
	if failed := s.refused(telemetry.ReasonHandshake); failed != 0 {
		t.Errorf("%d handshakes failed", failed)
	}
	now, err := s.handshake(first, 0)
	if err != nil {
		t.Fatal(err)
	}
	if expires := s.metric("spatialflow_certificate_expires_timestamp_seconds", "door", "door"); expires != float64(now.NotAfter.Unix()) {
		t.Errorf("it expires at %v, want %v", expires, now.NotAfter.Unix())
	}
}

// Certificates of issuers that come after one that stays are taken too, and what is no file, which may never end, keeps nobody from
// looking again.
func TestCertificateOfIssuersIsReadAgain(t *testing.T) {
	t.Parallel()
	first := tlstest.New(t, "first")
	cert, key := first.Issue("127.0.0.1")
	s := serveTLS(t, telemetry.TLSFiles{Cert: cert, Key: key})
	chain := func() int {
		t.Helper()
		conn, err := tls.Dial("tcp", s.address, first.Client())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return len(conn.ConnectionState().PeerCertificates)
	}
	if n := chain(); n != 1 {
		t.Fatalf("%d certificates at the start", n)
	}
	private, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(os.DevNull, key); err != nil {
		t.Fatal(err)
	}
	if n := chain(); n != 1 || !strings.Contains(s.log.String(), "is no file") {
		t.Errorf("%d certificates without a key: %s", n, s.log)
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key, private, 0o600); err != nil {
		t.Fatal(err)
	}
	issuer, err := os.ReadFile(first.CA)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(cert, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(issuer); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if n := chain(); n != 2 {
		t.Errorf("%d certificates once its issuer's was added, want 2", n)
	}
}

// A server whose files can't be used does not begin, and names them.
func TestWrongCertificateAtTheStart(t *testing.T) {
	t.Parallel()
	one, other := tlstest.New(t, "one"), tlstest.New(t, "other")
	cert, key := one.Issue("127.0.0.1")
	_, otherKey := other.Issue("127.0.0.1")
	for name, test := range map[string]struct {
		files telemetry.TLSFiles
		want  string
	}{
		"no key":            {telemetry.TLSFiles{Cert: cert}, "both are needed"},
		"no certificate":    {telemetry.TLSFiles{Key: key}, "both are needed"},
		"no such file":      {telemetry.TLSFiles{Cert: cert + "x", Key: key}, cert + "x"},
		"the key of others": {telemetry.TLSFiles{Cert: cert, Key: otherKey}, otherKey},
		"no PEM":            {telemetry.TLSFiles{Cert: "certificate_test.go", Key: key}, "certificate_test.go"},
	} {
		if err := test.files.Validate(); !errors.Is(err, telemetry.ErrCertificate) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
		server := telemetry.Server{Address: "127.0.0.1:0", TLS: test.files, Log: slog.New(slog.DiscardHandler), Listening: func(net.Addr) { t.Errorf("%s: it listens", name) }}
		if err := server.Serve(t.Context()); !errors.Is(err, telemetry.ErrCertificate) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}
