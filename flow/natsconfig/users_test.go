package natsconfig_test

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/crypto/bcrypt"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/natsconfig"
	"github.com/spatial-flow/spatial-flow/flow/roles"
	"github.com/spatial-flow/spatial-flow/flow/service"
)

func command(t *testing.T, change func(*natsconfig.Command)) *natsconfig.Command {
	t.Helper()
	c := new(natsconfig.Command)
	if err := service.Defaults(c); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(c)
	}
	return c
}

// files are those of a folder, by name; each is for its owner alone.
func files(t *testing.T, folder string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", entry.Name(), info.Mode(), err)
		}
		data, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[entry.Name()] = string(data)
	}
	return all
}

// line is that of users.conf for a user.
func line(users map[string]string, variable string) string {
	for line := range strings.Lines(users["users.conf"]) {
		if value, ok := strings.CutPrefix(line, variable+": "); ok {
			return strings.Trim(value, "\"\n")
		}
	}
	return ""
}

// Secrets are made once and stay, and so do their hashes, since the server drops whoever's changes; those that are to be renewed get new
// ones; nothing secret is printed.
func TestUsersStay(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "users")
	c := command(t, func(c *natsconfig.Command) { c.Users, c.Publisher = folder, []string{"yard=cam1,cam2"} })
	run := func() (config, said string, users map[string]string) {
		t.Helper()
		var out, log bytes.Buffer
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		if err := c.Run(&out, &log); err != nil {
			t.Fatal(err)
		}
		return out.String(), log.String(), files(t, folder)
	}
	config, said, first := run()
	if len(first) != 2*8+1 || strings.Count(said, "made: ") != 16 {
		t.Errorf("%d files are made:\n%s", len(first), said)
	}
	for _, name := range []string{"detect-a", "detect-b", "yard-a", "provisioner-b"} {
		user, password, ok := strings.Cut(strings.TrimSuffix(first[name], "\n"), "\n")
		hash := line(first, "PASSWORD_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_")))
		if !ok || user != name || len(password) < 32 || bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) != nil {
			t.Errorf("%s has %q, and the hash %q", name, user, hash)
		}
		if strings.Contains(config+said, password) || strings.Contains(config, hash) {
			t.Errorf("the secret of %s is printed", name)
		}
	}
	if _, said, second := run(); said != "" || second["users.conf"] != first["users.conf"] || second["detect-a"] != first["detect-a"] {
		t.Errorf("they don't stay: %s", said)
	}
	c.Renew, c.Group = []string{"*-b"}, []string{"detect", "depth", "third"}
	_, said, third := run()
	if strings.Count(said, "made: ") != 9+1 || third["detect-a"] != first["detect-a"] || line(third, "PASSWORD_DETECT_A") != line(first, "PASSWORD_DETECT_A") ||
		third["detect-b"] == first["detect-b"] || line(third, "PASSWORD_DETECT_B") == line(first, "PASSWORD_DETECT_B") || third["third-a"] == "" {
		t.Errorf("renewed:\n%s", said)
	}
	c.Renew = nil
	if err := os.WriteFile(filepath.Join(folder, "fuser-a"), []byte("fuser-a\nshort\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, own := run()
	if cost, err := bcrypt.Cost([]byte(line(own, "PASSWORD_FUSER_A"))); err != nil || cost < 10 {
		t.Errorf("a password that can be guessed has a hash of cost %d, %v", cost, err)
	}
	if err := os.WriteFile(filepath.Join(folder, "fuser-a"), []byte("no second line"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Run(io.Discard, io.Discard); !errors.Is(err, natsconfig.ErrUsage) || !strings.Contains(err.Error(), "fuser-a") {
		t.Errorf("a file without a password: %v", err)
	}
}

// What would not be what is meant is refused.
func TestRefusedFlags(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*natsconfig.Command)
		want   error
	}{
		"a group like a role":     {func(c *natsconfig.Command) { c.Group = []string{"fuser"} }, roles.ErrRole},
		"a publisher like a role": {func(c *natsconfig.Command) { c.Publisher = []string{"gateway=cam1"} }, roles.ErrRole},
		"names that are alike":    {func(c *natsconfig.Command) { c.Reader = []string{"wall-1=cam1", "wall_1=cam2"} }, roles.ErrRole},
		"a wildcard in a source":  {func(c *natsconfig.Command) { c.Reader = []string{"wall=cam*"} }, flow.ErrName},
		"all subjects":            {func(c *natsconfig.Command) { c.Publisher = []string{"p=>"} }, flow.ErrName},
		"no source":               {func(c *natsconfig.Command) { c.Publisher = []string{"p="} }, flow.ErrName},
		"no sources":              {func(c *natsconfig.Command) { c.Publisher = []string{"p"} }, natsconfig.ErrUsage},
		"a bad group":             {func(c *natsconfig.Command) { c.Group = []string{"a.b"} }, flow.ErrName},
		"a bad prefix":            {func(c *natsconfig.Command) { c.NATSPrefix = "a.>" }, flow.ErrName},
		"half of TLS":             {func(c *natsconfig.Command) { c.TLSKey = "k" }, natsconfig.ErrUsage},
		"a size that is more":     {func(c *natsconfig.Command) { c.MaxFile = "1GB } authorization {" }, natsconfig.ErrUsage},
		"an absolute include":     {func(c *natsconfig.Command) { c.Include = "/etc/users.conf" }, natsconfig.ErrUsage},
		"a cluster without names": {func(c *natsconfig.Command) { c.Cluster = "c" }, natsconfig.ErrUsage},
		"a cluster's password":    {func(c *natsconfig.Command) { c.Cluster, c.Name, c.ClusterPasswordFile = "c", "n", "p" }, natsconfig.ErrUsage},
		"hashes of no users":      {func(c *natsconfig.Command) { c.UsersFile = "u" }, natsconfig.ErrUsage},
		"a bad pattern":           {func(c *natsconfig.Command) { c.Users, c.Renew = "d", []string{"["} }, natsconfig.ErrUsage},
	} {
		if err := command(t, test.change).Validate(); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	if err := command(t, nil).Validate(); err != nil {
		t.Error(err)
	}
}

// Two deployments in one account do not meet: a role of one may nothing of the other.
func TestPrefix(t *testing.T) {
	t.Parallel()
	blue, plain := roles.Table{Prefix: "blue", Groups: []string{"detect"}}, roles.Table{Groups: []string{"detect"}}
	for i, role := range blue.Services() {
		if role.Kind == roles.Provisioner || role.Kind == roles.Monitor { // they see the whole account
			continue
		}
		ours, others := blue.Of(role), plain.Of(plain.Services()[i])
		for _, subject := range ours.Publish {
			if subject != "$JS.API.INFO" && granted(others.Publish, subject) {
				t.Errorf("%s without a prefix may publish %s", role.Name, subject)
			}
		}
		for _, subject := range ours.Subscribe {
			if granted(others.Subscribe, subject) {
				t.Errorf("%s without a prefix may listen to %s", role.Name, subject)
			}
		}
		if len(ours.Publish) != len(others.Publish) || len(ours.Subscribe) != len(others.Subscribe) {
			t.Errorf("%s may otherwise with a prefix than without", role.Name)
		}
	}
}

// Secrets that are given, in a folder that can't be written to, as in a container, are enough; one that is missing is named.
func TestUsersAreGiven(t *testing.T) {
	t.Parallel()
	given, out := filepath.Join(t.TempDir(), "given"), t.TempDir()
	c := command(t, func(c *natsconfig.Command) { c.Users = given })
	if err := c.Run(io.Discard, io.Discard); err != nil { // makes them
		t.Fatal(err)
	}
	before := files(t, given)
	if err := os.Remove(filepath.Join(given, "users.conf")); err != nil {
		t.Fatal(err)
	}
	delete(before, "users.conf")
	c.Output, c.UsersFile = filepath.Join(out, "nats-server.conf"), filepath.Join(out, "users.conf")
	var printed bytes.Buffer
	if err := c.Run(&printed, io.Discard); err != nil {
		t.Fatal(err)
	}
	if after := files(t, given); !maps.Equal(before, after) {
		t.Errorf("the folder has changed: %v, %v", before, after)
	}
	made := files(t, out)
	if printed.Len() > 0 || !strings.Contains(made["nats-server.conf"], `include "users.conf"`) {
		t.Errorf("printed %q, written %q", printed.String(), made["nats-server.conf"])
	}
	_, password, _ := strings.Cut(strings.TrimSpace(before["fuser-a"]), "\n")
	hash := line(made, "PASSWORD_FUSER_A")
	if err := bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)); err != nil {
		t.Errorf("the hash %q: %v", hash, err)
	}
	c.Users = ""
	if err := c.Validate(); !errors.Is(err, natsconfig.ErrUsage) {
		t.Errorf("--users-file without --users: %v", err)
	}
}

// The servers of a cluster ask each other for a password, which stands in no configuration that is printed; a server may also have a
// configuration of its own that includes the roles.
func TestClusterAndRolesOnly(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	secret := strings.Repeat("a1B2c3", 5)
	if err := os.WriteFile(filepath.Join(folder, "cluster"), []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := command(t, func(c *natsconfig.Command) {
		c.Users, c.Output = folder, filepath.Join(folder, "nats-server.conf")
		c.Name, c.Cluster, c.ClusterPasswordFile, c.Route = "n-0", "n", filepath.Join(folder, "cluster"), []string{"nats://n-1:6222"}
	})
	if err := errors.Join(c.Validate(), c.Run(io.Discard, io.Discard)); err != nil {
		t.Fatal(err)
	}
	o, err := server.ProcessConfigFile(c.Output)
	if err != nil {
		t.Fatal(err)
	}
	if o.Cluster.Username != "cluster" || o.Cluster.Password != secret || !o.Cluster.NoAdvertise || len(o.Routes) != 1 || o.Routes[0].String() != "nats://cluster:"+secret+"@n-1:6222" {
		t.Errorf("cluster %+v, routes %v", o.Cluster, o.Routes)
	}
	users := len(o.Users)

	c = command(t, func(c *natsconfig.Command) {
		c.Users, c.Output, c.RolesOnly = folder, filepath.Join(folder, "roles.conf"), true
	})
	if err := c.Run(io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(folder, "own.conf")
	if err := os.WriteFile(own, []byte("include \"roles.conf\"\nport: 4333\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if o, err = server.ProcessConfigFile(own); err != nil || o.Port != 4333 || o.JetStream || len(o.Users) != users {
		t.Errorf("port %d, JetStream %v, %d users, %v", o.Port, o.JetStream, len(o.Users), err)
	}
}
