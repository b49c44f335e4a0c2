package service_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/spatial-flow/spatial-flow/flow/porttest"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/flow/telemetry"
	"github.com/spatial-flow/spatial-flow/flow/telemetry/tlstest"
)

// admin is the admin address of a program that needs some time to end once it is drained.
func admin(t *testing.T, ready bool, ends time.Duration) (address string) {
	t.Helper()
	return adminTLS(t, ready, ends, telemetry.TLSFiles{})
}

func adminTLS(t *testing.T, ready bool, ends time.Duration, files telemetry.TLSFiles) (address string) {
	t.Helper()
	address = porttest.Address(t)
	ctx, cancel := context.WithCancel(t.Context())
	var drained atomic.Bool
	a := telemetry.Admin{Address: address, TLS: files, Gatherer: prometheus.NewRegistry(), Ready: func() bool { return ready && !drained.Load() }, Drain: func() {
		drained.Store(true)
		time.AfterFunc(ends, cancel)
	}}
	ended := make(chan error, 1)
	go func() { ended <- a.Serve(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			return address
		}
	}
	t.Fatal("nothing listens")
	return ""
}

func TestHealthy(t *testing.T) {
	ready, not := admin(t, true, 0), admin(t, false, 0)
	_, port, _ := net.SplitHostPort(ready)
	for name, one := range map[string]struct {
		ask  service.Healthy
		says string // "": healthy
	}{
		"ready":                    {service.Healthy{Admin: ready}, ""},
		"listens everywhere":       {service.Healthy{Admin: ":" + port}, ""},
		"listens everywhere, IPv4": {service.Healthy{Admin: "0.0.0.0:" + port}, ""},
		"a URL":                    {service.Healthy{URL: "http://" + ready + "/healthz"}, ""},
		"up, not ready":            {service.Healthy{Admin: not}, "503: not ready"},
		"nobody":                   {service.Healthy{Admin: "127.0.0.1:1"}, "refused"},
		"another page":             {service.Healthy{URL: "http://" + ready + "/none"}, "404"},
		"no URL":                   {service.Healthy{URL: "://"}, "://"},
		"no scheme":                {service.Healthy{URL: "127.0.0.1:8001/readyz"}, "is no http:// address"},
		"no admin address":         {service.Healthy{Admin: ""}, "is no http:// address"},
	} {
		one.ask.Timeout = patience
		err := one.ask.Ask(t.Context())
		if one.says == "" && err != nil || one.says != "" && (!errors.Is(err, service.ErrUnhealthy) || !strings.Contains(err.Error(), one.says)) {
			t.Errorf("%s: %v, want %q", name, err, one.says)
		}
	}
}

// Who is told the certificate of the admin address asks by TLS, and whoever has another one is not asked.
func TestControlByTLS(t *testing.T) {
	right := tlstest.New(t, "right")
	cert, key := right.Issue("admin.example.org") // by no name of this machine
	other, _ := tlstest.New(t, "other").Issue("admin.example.org")
	address := adminTLS(t, true, 0, telemetry.TLSFiles{Cert: cert, Key: key})
	plain := admin(t, true, 0)
	for name, one := range map[string]struct {
		ask  service.Healthy
		says string // "": healthy
	}{
		"its certificate":       {service.Healthy{Admin: address, TLSCert: cert}, ""},
		"a URL":                 {service.Healthy{URL: "https://" + address + "/healthz", TLSCert: cert}, ""},
		"another certificate":   {service.Healthy{Admin: address, TLSCert: other}, "another certificate"},
		"no certificate":        {service.Healthy{Admin: address}, "400"},
		"a URL, no certificate": {service.Healthy{URL: "https://" + address + "/healthz"}, "x509"},
		"a program without TLS": {service.Healthy{Admin: plain, TLSCert: cert}, "HTTP response to HTTPS client"},
		"no file":               {service.Healthy{Admin: address, TLSCert: cert + "x"}, cert + "x"},
		"a key":                 {service.Healthy{Admin: address, TLSCert: key}, "it begins with no certificate"},
	} {
		one.ask.Timeout = patience
		err := one.ask.Ask(t.Context())
		if one.says == "" && err != nil || one.says != "" && (!errors.Is(err, service.ErrUnhealthy) || !strings.Contains(err.Error(), one.says)) {
			t.Errorf("%s: %v, want %q", name, err, one.says)
		}
	}
	if err := (service.Drain{Admin: address, TLSCert: other, Timeout: patience}).Stop(t.Context()); !errors.Is(err, service.ErrDrain) {
		t.Errorf("another program is drained: %v", err)
	}
	if err := (service.Drain{Admin: address, TLSCert: cert, Timeout: patience}).Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestDrainWaitsForTheEnd(t *testing.T) {
	address := admin(t, true, 300*time.Millisecond)
	if err := (service.Drain{Admin: address, Timeout: patience}).Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := http.Get("http://" + address + "/healthz"); err == nil {
		t.Error("it still answers")
	}
	if err := (service.Drain{Admin: address, Timeout: patience}).Stop(t.Context()); !errors.Is(err, service.ErrDrain) {
		t.Errorf("nobody there: %v", err)
	}
	address = admin(t, true, time.Hour)
	if err := (service.Drain{URL: "http://" + address + "/drain", Timeout: 300 * time.Millisecond}).Stop(t.Context()); !errors.Is(err, service.ErrDrain) || !strings.Contains(err.Error(), "still runs") {
		t.Errorf("one that does not end: %v", err)
	}
}

// One that has stopped answering, but still runs, is not drained.
func TestDrainIsNotFooledBySilence(t *testing.T) {
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/drain" {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		<-hang
	}))
	defer server.Close()
	defer close(hang)
	if err := (service.Drain{URL: server.URL + "/drain", Timeout: 300 * time.Millisecond}).Stop(t.Context()); !errors.Is(err, service.ErrDrain) {
		t.Errorf("a program that hangs: %v", err)
	}
}
