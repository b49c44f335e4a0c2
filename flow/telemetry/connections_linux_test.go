package telemetry_test

import (
	"net"
	"net/http"
	"testing"
	"time"
)

// However many connections one client holds open, those of another stay: who has most makes room.
func TestConnectionsOfOneClientMakeRoom(t *testing.T) {
	t.Parallel()
	address, cancel, ended := serve(t, patience, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	from := func(client string) net.Conn {
		t.Helper()
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(client)}}
		conn, err := dialer.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	quiet := from("127.0.0.2")
	ask(t, quiet)
	for range 600 {
		from("127.0.0.3")
	}
	ask(t, from("127.0.0.4")) // all before it were noted
	ask(t, quiet)
	cancel()
	ends(t, ended)
}
