package bus_test

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/spatial-flow/spatial-flow/flow/bus"
)

// A password that is changed, here and at the server, needs no restart of the client, whichever of the two is first.
func TestPasswordChangesWithoutARestart(t *testing.T) {
	options := func(port int, password string) *server.Options {
		o := &server.Options{NoSigs: true, NoLog: true}
		if err := o.ProcessConfigString(fmt.Sprintf(`listen: "127.0.0.1:%d", authorization { users: [ {user: fuser, password: %s} ] }`, port, password)); err != nil {
			t.Fatal(err)
		}
		return o
	}
	s, err := server.NewServer(options(-1, "old"))
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server is not ready")
	}
	var password atomic.Pointer[string]
	set := func(p string) { password.Store(&p) }
	set("old")
	o := bus.Options{URL: s.ClientURL(), Role: "test", Login: func() (string, string, error) {
		if p := *password.Load(); p != "" {
			return "fuser", p, nil
		}
		return "", "", errors.New("no file")
	}}
	b, err := bus.Connect(o)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	// The server first: the old one is refused again and again, and the connection is not given up.
	port := s.Addr().(*net.TCPAddr).Port
	if err := s.ReloadOptions(options(port, "new")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the old password is refused", func() bool { return !b.Conn().IsConnected() })
	time.Sleep(500 * time.Millisecond) // several tries
	if b.Conn().IsClosed() {
		t.Fatal("the connection is given up")
	}
	set("new")
	eventually(t, "it is connected again", b.Conn().IsConnected)
	// A file that can't be read for a moment: the password before it counts.
	set("")
	if err := s.ReloadOptions(options(port, "newest")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new password is refused", func() bool { return !b.Conn().IsConnected() })
	if err := s.ReloadOptions(options(port, "new")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is connected again with the last known", b.Conn().IsConnected)
	if _, err := bus.Connect(o); !errors.Is(err, bus.ErrRefused) {
		t.Errorf("no password to read at the start: %v", err)
	}
}
