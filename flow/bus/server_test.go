package bus_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
)

// run starts a server with these settings, and a connection that logs to log.
func run(t *testing.T, config string, log *bytes.Buffer) *bus.Bus {
	t.Helper()
	o := &server.Options{NoSigs: true, NoLog: true}
	if err := o.ProcessConfigString(`listen: "127.0.0.1:-1"` + "\n" + strings.ReplaceAll(config, "FOLDER", `"`+t.TempDir()+`"`)); err != nil {
		t.Fatal(err)
	}
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server is not ready")
	}
	b, err := bus.Connect(bus.Options{URL: s.ClientURL(), Role: "test", Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func TestCheckServer(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		config, names, logged string
	}{
		"as it should be":         {"max_payload: 4MB, jetstream { store_dir: FOLDER }", "", ""},
		"the default max_payload": {"jetstream { store_dir: FOLDER }", "", "max_payload: 4MB"},
		"hardly any max_payload":  {"max_payload: 100KB, jetstream { store_dir: FOLDER }", "max_payload: 4MB", ""},
		"no JetStream":            {"max_payload: 4MB", "jetstream section", ""},
		"none in the account": {
			`max_payload: 4MB, jetstream { store_dir: FOLDER }, no_auth_user: u
			accounts { A { users: [ {user: u, password: p} ] }, B { jetstream: enabled } }`,
			"jetstream: enabled", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			b := run(t, test.config, &log)
			err := b.CheckServer(t.Context())
			if test.names == "" && err != nil || test.names != "" && (!errors.Is(err, bus.ErrServer) || !strings.Contains(err.Error(), test.names) || strings.Contains(err.Error(), "\n")) {
				t.Errorf("%v, want one that names %q", err, test.names)
			}
			if said := log.String(); strings.Contains(said, test.logged) != (test.logged != "" || said == "") || strings.Count(said, "\n") > 1 {
				t.Errorf("it logs %q, want %q", said, test.logged)
			}
		})
	}
}

func TestProvisionWithoutRoom(t *testing.T) {
	t.Parallel()
	inMemory := deployment(detect)
	inMemory.Limits.LiveStorage = flow.LiveInMemory
	for name, test := range map[string]struct {
		config, names string
		asked         flow.Deployment
	}{
		"on the disk":    {"jetstream { store_dir: FOLDER, max_file_store: 1GB }", "max_file_store", deployment(detect)},
		"in memory":      {"jetstream { store_dir: FOLDER, max_memory_store: 100MB }", "max_memory_store", inMemory},
		"in the account": {"jetstream { store_dir: FOLDER }, no_auth_user: u, accounts { A { jetstream: { max_file: 1GB }, users: [ {user: u, password: p} ] } }", "max_file", deployment(detect)},
		"three replicas": {"jetstream { store_dir: FOLDER }", "--replicas=1", small(3)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := run(t, "max_payload: 4MB, "+test.config, new(bytes.Buffer))
			err := b.Provision(t.Context(), test.asked)
			if !errors.Is(err, bus.ErrServer) || !strings.Contains(err.Error(), test.names) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v, want one that names %q", err, test.names)
			}
		})
	}
}

// What fits in the messages of a server with NATS' own limit goes through it.
func TestSmallerMessagesAreStored(t *testing.T) {
	t.Parallel()
	b := run(t, "jetstream { store_dir: FOLDER }", new(bytes.Buffer))
	if err := b.Provision(t.Context(), small(1)); err != nil {
		t.Fatal(err)
	}
	fits := frame("cam1", 1, "detect")
	fits.Picture = bytes.Repeat([]byte{0xff}, b.MaxMessage()-1024)
	publishFrames(t, b, flow.Groups{detect}, fits)
	fits.Seq, fits.Picture = 2, bytes.Repeat([]byte{0xff}, 1<<20)
	if err := b.PublishFrame(t.Context(), flow.Groups{detect}, fits); !errors.Is(err, bus.ErrTooLarge) {
		t.Errorf("%v, want ErrTooLarge", err)
	}
}
