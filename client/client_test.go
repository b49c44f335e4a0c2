package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spatial-flow/spatial-flow/client"
	"github.com/spatial-flow/spatial-flow/client/api"
)

// pipes are connections in memory, so that a test's clock goes on when all who use them wait.
type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.accepted:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.accepted <- far:
		return near, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ask makes a client of a gateway with this handler, in a bubble of synctest.
func ask(t *testing.T, handler http.Handler, options client.Options) *client.Client {
	t.Helper()
	p := &pipes{accepted: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(p) }()
	transport := &http.Transport{DialContext: p.dial}
	options.HTTP = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	c, err := client.New("http://gateway/base/", options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
		<-served
	})
	return c
}

func TestNew(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"", "127.0.0.1:8000", "ftp://x", "http://", "://", "http://user:secret@"} {
		if _, err := client.New(address, client.Options{}); !errors.Is(err, client.ErrAddress) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", address, err)
		}
	}
	if _, err := client.Dial(t.Context(), "http://127.0.0.1:1", client.Options{}); err == nil {
		t.Error("nobody listens, and no error")
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mux := http.NewServeMux()
		text := func(pattern, answer string) {
			mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(answer)) })
		}
		text("GET /base/api/v1/sources", `{"type":"status","sources":[{"source":"cam1","state":"gone","account":{"captured":9,"admitted":9,"complete":9}}]}`)
		text("GET /base/api/v1/sources/a%20b/scene", `{"frame":{"source":"cam1","session":"s","seq":4},"outcome":"complete"}`)
		mux.HandleFunc("GET /base/api/v1/sources/moved/scene", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://elsewhere/", http.StatusTemporaryRedirect)
		})
		text("GET /base/api/v1/sources/endless/scene", strings.Repeat(" ", api.MaxHeader+1))
		mux.HandleFunc("POST /base/api/v1/predict", func(w http.ResponseWriter, r *http.Request) {
			if body, err := io.ReadAll(r.Body); string(body) != "JPEG" || err != nil {
				t.Errorf("posted %q, %v", body, err)
			}
			switch r.URL.RawQuery {
			case "":
				w.Header().Set("Retry-After", "7")
				w.WriteHeader(http.StatusServiceUnavailable)
				_, _ = w.Write([]byte(`{"error":"no turn","reason":"full"}`))
			case "classes=person%2Cdog&confidence=0.5&depth=true&groups=detect%2Cdepth":
				_, _ = w.Write([]byte(`{"frame":{"source":"predict-1","session":"s","seq":4},"detections":[{"bbox":[1,2,3,4],"score":0.5,"label":"dog"}],
					"depth":{"width":1,"height":1,"kind":"metric","bits":8,"scale":1,"data":"AQI="}}`))
			default:
				t.Errorf("asked for %s", r.URL.RawQuery)
			}
		})
		c := ask(t, mux, client.Options{})
		status, err := c.Status(t.Context())
		if err != nil || len(status.Sources) != 1 || status.Sources[0].State != api.StateGone || status.Sources[0].Account.Check() != nil {
			t.Errorf("status %+v, %v", status, err)
		}
		if scene, err := c.Scene(t.Context(), "a b"); err != nil || scene.Frame.Seq != 4 {
			t.Errorf("scene %+v, %v", scene, err)
		}
		var p *api.Problem
		if _, err := c.Scene(t.Context(), "nobody"); !errors.As(err, &p) || p.Status != http.StatusNotFound {
			t.Errorf("no such source: %v", err)
		}
		if _, err := c.Scene(t.Context(), "moved"); !errors.As(err, &p) || p.Status != http.StatusTemporaryRedirect || !strings.Contains(err.Error(), "http://elsewhere/") {
			t.Errorf("elsewhere: %v", err)
		}
		if _, err := c.Scene(t.Context(), "endless"); !errors.Is(err, api.ErrMessage) {
			t.Errorf("an endless answer: %v", err)
		}
		scene, err := c.Predict(t.Context(), []byte("JPEG"), client.Question{Groups: []string{"detect", "depth"}, Classes: []string{"person", "dog"}, Confidence: .5, Depth: true})
		if err != nil || len(scene.Detections) != 1 || scene.Detections[0].Label != "dog" || len(scene.Depth.Data) != 2 {
			t.Errorf("scene %+v, %v", scene, err)
		}
		if _, err := c.Predict(t.Context(), []byte("JPEG"), client.Question{}); !errors.As(err, &p) || p.RetryAfter != 7*time.Second || p.Reason != "full" {
			t.Errorf("busy: %v, %+v", err, p)
		}
	})
}
