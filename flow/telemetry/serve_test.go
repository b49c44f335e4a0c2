package telemetry_test

import (
	"bufio"
	"bytes"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// safe is a buffer for several writers.
type safe struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safe) Write(p []byte) (int, error) { s.mu.Lock(); defer s.mu.Unlock(); return s.b.Write(p) }
func (s *safe) String() string              { s.mu.Lock(); defer s.mu.Unlock(); return s.b.String() }

// What net/http says is a line of the log like all others.
func TestServerSpeaksThroughTheLog(t *testing.T) {
	t.Parallel()
	var out safe
	address, cancel, ended := serveLogging(t, patience, slog.New(slog.NewJSONHandler(&out, nil)), http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic("oh dear")
	}))
	if response, err := client.Get("http://" + address); err == nil {
		response.Body.Close()
		t.Errorf("answered %d", response.StatusCode)
	}
	cancel()
	ends(t, ended)
	if said := out.String(); !strings.HasPrefix(said, `{"time"`) || !strings.Contains(said, "oh dear") || strings.Count(said, "\n") != 1 {
		t.Errorf("the log says %q", said)
	}
}

// However many connections are held open, another one is answered: those that are idle longest make room.
func TestIdleConnectionsMakeRoom(t *testing.T) {
	t.Parallel()
	address, cancel, ended := serve(t, patience, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	const more = 512 + 8
	var conns []net.Conn
	for i := range more {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
		if i%2 == 1 {
			continue // it says nothing at all
		}
		ask(t, conn)
	}
	if _, err := bufio.NewReader(conns[0]).ReadByte(); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("the connection that was idle longest: %v, want it closed", err)
	}
	ask(t, conns[more-2])
	cancel()
	ends(t, ended)
}

func ask(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || response.StatusCode != http.StatusNoContent {
		t.Fatalf("%v, %v", response, err)
	}
}
