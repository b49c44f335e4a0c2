package natsserver_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/natsserver"
)

// A server for others has users, each of whom may do what its configuration says; this process may do everything.
func TestUsers(t *testing.T) {
	t.Parallel()
	config := filepath.Join(t.TempDir(), "nats.conf")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := natsserver.Start(t.TempDir(), "0.0.0.0:0", "", quiet); !errors.Is(err, natsserver.ErrOpen) {
		t.Errorf("%v, %v: it is open for all", s, err)
	}
	for _, text := range []string{"", "authorization {token: x}", "authorization {"} {
		write(text)
		if s, err := natsserver.Start(t.TempDir(), "127.0.0.1:0", config, quiet); !errors.Is(err, natsserver.ErrConfig) {
			t.Errorf("%q: %v, %v", text, s, err)
		}
	}
	write(`listen: "127.0.0.1:1", jetstream {store_dir: "/nowhere"}, authorization {users: [{user: u, password: p, permissions: {publish: [mine], subscribe: ["_INBOX_u.>"]}}]}`)
	s, err := natsserver.Start(t.TempDir(), "0.0.0.0:0", config, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	own, err := s.Connect("test", quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	if _, err := own.JetStream().AccountInfo(t.Context()); err != nil {
		t.Errorf("this process: %v", err)
	}
	login := func(password string) func() (string, string, error) {
		return func() (string, string, error) { return "u", password, nil }
	}
	b, err := bus.Connect(bus.Options{URL: s.URL(), Role: "u", Login: login("p")})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := b.JetStream().AccountInfo(t.Context()); err == nil {
		t.Error("a user asks what it may not ask")
	}
	for _, o := range []bus.Options{{URL: s.URL()}, {URL: s.URL(), Login: login("other")}} {
		if _, err := bus.Connect(o); !errors.Is(err, bus.ErrRefused) {
			t.Errorf("one who is not known: %v", err)
		}
	}
}
