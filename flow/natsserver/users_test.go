package natsserver_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

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

// Who is withdrawn is sent away, and who is new let in, when the file changes, or one that it includes; a file that is wrong changes nothing.
func TestUsersAreReadAgain(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("nats.conf", `include "users.conf"`)
	write("users.conf", `authorization {users: [{user: u, password: old}]}`)
	said := make(chan string, 100)
	s, err := natsserver.Start(t.TempDir(), "127.0.0.1:0", filepath.Join(folder, "nats.conf"), slog.New(lines{quiet.Handler(), said}))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	own, err := s.Connect("test", quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	connect := func(password string) (*bus.Bus, error) {
		return bus.Connect(bus.Options{URL: s.URL(), Role: "u", Login: func() (string, string, error) { return "u", password, nil }})
	}
	await := func(want string) {
		t.Helper()
		for timeout := time.After(time.Minute); ; {
			select {
			case line := <-said:
				if line == want {
					return
				}
			case <-timeout:
				t.Fatalf("never: %q", want)
			}
		}
	}
	expect := func(right, wrong string) {
		t.Helper()
		b, err := connect(right)
		if err != nil {
			t.Fatalf("%s: %v", right, err)
		}
		b.Close()
		if _, err := connect(wrong); !errors.Is(err, bus.ErrRefused) {
			t.Errorf("%s: %v", wrong, err)
		}
	}
	expect("old", "new")
	write("users.conf", `authorization {users: [{user: u`)
	await("the users of nats stay as they were")
	expect("old", "new")
	write("users.conf", `authorization {users: [{user: u, password: new}]}`)
	await("the users of nats are read again")
	expect("new", "old")
	if _, err := own.JetStream().AccountInfo(t.Context()); err != nil {
		t.Errorf("this process: %v", err)
	}
}

// lines hands on what is logged.
type lines struct {
	slog.Handler
	said chan string
}

func (l lines) Enabled(context.Context, slog.Level) bool { return true }
func (l lines) Handle(_ context.Context, r slog.Record) error {
	select {
	case l.said <- r.Message:
	default: // nobody reads them any more
	}
	return nil
}
