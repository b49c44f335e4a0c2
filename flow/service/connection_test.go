package service_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/flow/telemetry/tlstest"
)

var quiet = slog.New(slog.DiscardHandler)

// configured is a server with a configuration that can be changed.
type configured struct {
	t *testing.T
	s *server.Server
}

func configure(t *testing.T, format string, arguments ...any) configured {
	t.Helper()
	s, err := server.NewServer(serverOptions(t, -1, fmt.Sprintf(format, arguments...)))
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server is not ready")
	}
	return configured{t, s}
}

func serverOptions(t *testing.T, port int, text string) *server.Options {
	t.Helper()
	o := new(server.Options)
	if err := o.ProcessConfigString(fmt.Sprintf("listen: \"127.0.0.1:%d\"\n%s", port, text)); err != nil {
		t.Fatal(err)
	}
	o.NoSigs, o.NoLog = true, true
	return o
}

func (c configured) change(format string, arguments ...any) {
	c.t.Helper()
	port := c.s.Addr().(*net.TCPAddr).Port
	if err := c.s.ReloadOptions(serverOptions(c.t, port, fmt.Sprintf(format, arguments...))); err != nil {
		c.t.Fatal(err)
	}
}

func write(t *testing.T, file, text string) string {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func connect(t *testing.T, c service.Connection) *bus.Bus {
	t.Helper()
	b, err := c.Connect(t.Context(), "test", quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// reconnects wants the connection to be lost, and there again.
func reconnects(t *testing.T, b *bus.Bus, times uint64) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); b.Reconnects() < times || !b.Conn().IsConnected(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d reconnects, want %d", b.Reconnects(), times)
		}
	}
}

// newSeed makes an nkey.
func newSeed(t *testing.T) (public, seed string) {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	data, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	if public, err = pair.PublicKey(); err != nil {
		t.Fatal(err)
	}
	return public, string(data)
}

// What a file says changes while a program runs, user and key too.
func TestFilesAreReadForEveryConnection(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	first, seed := newSeed(t)
	second, other := newSeed(t)
	for _, test := range []struct {
		name          string
		connection    service.Connection
		users         [2]string // of the server
		before, after string    // in the file
	}{
		{"password", service.Connection{NATSUser: "u", NATSPasswordFile: file + "1"}, [2]string{"{user: u, password: p1}", "{user: u, password: p2}"}, "p1\n", "p2\n"},
		{"user and password", service.Connection{NATSPasswordFile: file + "2"}, [2]string{"{user: u-a, password: p1}", "{user: u-b, password: p2}"}, "u-a\np1\n", "u-b\r\np2\r\n"},
		{"nkey", service.Connection{NATSNkeyFile: file + "3"}, [2]string{"{nkey: " + first + "}", "{nkey: " + second + "}"}, seed, other + "\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := configure(t, "authorization { users: [%s] }", test.users[0])
			secret := test.connection.NATSPasswordFile + test.connection.NATSNkeyFile
			test.connection.NATS = s.s.ClientURL()
			write(t, secret, test.before)
			b := connect(t, test.connection)
			s.change("authorization { users: [%s, %s] }", test.users[0], strings.Replace(test.users[1], "user: u,", "user: w,", 1))
			if !b.Conn().IsConnected() || b.Reconnects() != 0 {
				t.Fatalf("it is dropped while its secret holds: %d reconnects", b.Reconnects())
			}
			write(t, secret, test.after)
			s.change("authorization { users: [%s] }", test.users[1])
			reconnects(t, b, 1)
			write(t, secret, "") // as while it is written: what was read before holds
			s.s.DisconnectClientByID(firstClient(t, s.s))
			reconnects(t, b, 2)
			if _, err := test.connection.Connect(t.Context(), "test", quiet); !errors.Is(err, bus.ErrRefused) || strings.Contains(err.Error(), other) {
				t.Errorf("an empty file at the start: %v", err)
			}
		})
	}
}

func firstClient(t *testing.T, s *server.Server) uint64 {
	t.Helper()
	connections, err := s.Connz(nil)
	if err != nil || len(connections.Conns) == 0 {
		t.Fatalf("%v, %v", connections, err)
	}
	return connections.Conns[0].Cid
}

// TLS: a server whose certificate doesn't match is refused at once, with one line that says so; one that wants certificates gets them.
func TestTLS(t *testing.T) {
	t.Parallel()
	right, wrong := tlstest.New(t, "right"), tlstest.New(t, "wrong")
	cert, key := right.Issue("127.0.0.1")
	elsewhere, elsewhereKey := right.Issue("nats.example.com")
	own, ownKey := right.Issue("fuser")
	s := configure(t, "tls { cert_file: %q, key_file: %q }", cert, key)
	demanding := configure(t, "tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true }", cert, key, right.CA)
	other := configure(t, "tls { cert_file: %q, key_file: %q }", elsewhere, elsewhereKey)
	plain := configure(t, "")
	for _, test := range []struct {
		name       string
		server     configured
		connection service.Connection
		want       string // empty: it is connected
	}{
		{"its authority", s, service.Connection{NATSCA: right.CA}, ""},
		{"another authority", s, service.Connection{NATSCA: wrong.CA}, "the server's certificate: x509: certificate signed by unknown authority"},
		{"no authority", s, service.Connection{}, "the server's certificate: x509: certificate signed by unknown authority"},
		{"another host", other, service.Connection{NATSCA: right.CA}, "the server's certificate: x509: cannot validate certificate for 127.0.0.1"},
		{"a server without TLS", plain, service.Connection{NATSCA: right.CA}, "secure connection not available"},
		{"a certificate", demanding, service.Connection{NATSCA: right.CA, NATSCert: own, NATSKey: ownKey}, ""},
		{"no such file", s, service.Connection{NATSCA: right.CA + "x"}, "no such file"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		test.connection.NATS = "nats://" + test.server.s.Addr().String()
		b, err := test.connection.Connect(ctx, "test", quiet)
		cancel()
		if err == nil {
			b.Close()
		}
		if test.want == "" && err != nil || test.want != "" && (!errors.Is(err, bus.ErrRefused) || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
	// A certificate that is changed is taken by the next connection.
	b := connect(t, service.Connection{NATS: "nats://" + s.s.Addr().String(), NATSCA: right.CA})
	next := tlstest.New(t, "next")
	cert, key = next.Issue("127.0.0.1")
	both, err := os.ReadFile(next.CA)
	if err != nil {
		t.Fatal(err)
	}
	write(t, right.CA, string(both))
	s.change("tls { cert_file: %q, key_file: %q }", cert, key)
	s.s.DisconnectClientByID(firstClient(t, s.s))
	reconnects(t, b, 1)
}
