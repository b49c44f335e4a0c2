package provision_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/goleak"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/natsserver"
	"github.com/spatial-flow/spatial-flow/flow/porttest"
	"github.com/spatial-flow/spatial-flow/flow/provision"
	"github.com/spatial-flow/spatial-flow/flow/service"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func command(t *testing.T, url string) *provision.Command {
	t.Helper()
	c := new(provision.Command)
	if err := service.Defaults(c); err != nil {
		t.Fatal(err)
	}
	c.NATS, c.Timeout = url, 20*time.Second
	return c
}

func TestProvisionIsRepeatedAndSwitchesGroups(t *testing.T) {
	s, err := natsserver.Start(t.TempDir(), "127.0.0.1:0", "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	b, err := s.Connect("test", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, off := range [][]string{nil, {"depth"}, {"depth"}, nil} {
		c := command(t, s.URL())
		c.Off = off
		var out bytes.Buffer
		if err := c.Run(t.Context(), &out, &out); err != nil || !strings.Contains(out.String(), "provisioned: ") {
			t.Fatalf("off %v: %v\n%s", off, err, &out)
		}
		d, _, err := b.Deployment(t.Context())
		groups := d.Groups
		if err != nil || len(groups) != 2 || len(groups.On(time.Now())) != 2-len(off) || groups[1].Slot != flow.DefaultGroups()[1].Slot {
			t.Errorf("off %v: groups %s, %v", off, groups.Encode(), err)
		}
	}
}

func TestProvisionRefusesByName(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "groups.json")
	if err := os.WriteFile(bad, []byte("[{]"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*provision.Command){
		"--off pose":       func(c *provision.Command) { c.Off = []string{"pose"} },
		"--groups:":        func(c *provision.Command) { c.Groups = "[1]" },
		"--partitions":     func(c *provision.Command) { c.Partitions = 65 },
		"--positions-keep": func(c *provision.Command) { c.PositionsKeep = time.Minute },
		"--live-replicas":  func(c *provision.Command) { c.LiveReplicas = 2 },
		"--guard-bytes":    func(c *provision.Command) { c.LiveFrameBytes = 1 },
		"--groups-file":    func(c *provision.Command) { c.GroupsFile = bad },
		"--replicas":       func(c *provision.Command) { c.Replicas = 0 },
		"--nats-user":      func(c *provision.Command) { c.NATSPassword = "secret" },
		"--nats-password":  func(c *provision.Command) { c.NATSUser, c.NATSPassword, c.NATSPasswordFile = "u", "secret", "f" },
	} {
		c := command(t, "nats://127.0.0.1:1")
		change(c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// Three servers that find each other only after provision has begun: it waits for them, and then the streams have three
// copies. With users and a password from a file, as in a cluster.
func TestProvisionWaitsForTheCluster(t *testing.T) {
	folder := t.TempDir()
	password := filepath.Join(folder, "password")
	if err := os.WriteFile(password, []byte("right\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var routes [3]string
	for i := range routes {
		routes[i] = porttest.Address(t)
	}
	var servers [3]*server.Server
	start := func(n int) {
		t.Helper()
		o := &server.Options{NoSigs: true, NoLog: true}
		if err := o.ProcessConfigString(fmt.Sprintf(`server_name: n%d, listen: "127.0.0.1:-1", max_payload: 4MB, jetstream { store_dir: %q }
			cluster { name: c, listen: %q, routes: [ "nats://%s", "nats://%s", "nats://%s" ] }
			accounts {
				SF { jetstream: enabled, users: [ {user: provisioner, password: right} ] }
				SYS { users: [ {user: sys, password: sys} ] }
			}
			system_account: SYS`, n, filepath.Join(folder, fmt.Sprint(n)), routes[n], routes[0], routes[1], routes[2])); err != nil {
			t.Fatal(err)
		}
		s, err := server.NewServer(o)
		if err != nil {
			t.Fatal(err)
		}
		go s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		if !s.ReadyForConnections(20 * time.Second) {
			t.Fatalf("server %d is not ready", n)
		}
		servers[n] = s
	}
	start(0)
	ended := make(chan error, 1)
	var out bytes.Buffer
	go func() {
		c := command(t, servers[0].ClientURL())
		c.Replicas, c.Timeout, c.NATSUser, c.NATSPasswordFile = 3, time.Minute, "provisioner", password
		ended <- c.Run(t.Context(), &out, &out)
	}()
	start(1)
	start(2)
	if err := <-ended; err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	b, err := bus.Connect(bus.Options{URL: servers[2].ClientURL(), Role: "test", Login: func() (string, string, error) { return "provisioner", "right", nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, name := range []string{"FRAMES_LIVE", "SCENES_LOSSLESS", "KV_spatialflow"} {
		s, err := b.JetStream().Stream(t.Context(), name)
		if err != nil || s.CachedInfo().Config.Replicas != 3 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
