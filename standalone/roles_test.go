package standalone

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/configured"
	"github.com/spatial-flow/spatial-flow/flow/porttest"
	"github.com/spatial-flow/spatial-flow/flow/service"
)

// closed is a deployment whose server knows every service by a user of its own.
type closed struct {
	*deployment
	users string // folder
	flag  string // that takes a user's file
	ca    string // file, of who signed the server's certificate; empty: there is no TLS
	asked []string
	peers []*peer // the other servers of a cluster
}

// peer is one of them.
type peer struct {
	config string
	flags  []string
	run    *process
}

// newClosed is one in which nothing runs yet; flags are those of nats-config.
func newClosed(t *testing.T, flags ...string) *closed {
	t.Helper()
	d := &closed{deployment: newDeployment(t), users: filepath.Join(t.TempDir(), "users"), flag: "--nats-password-file"}
	store := filepath.Join(filepath.Dir(d.config), "store")
	d.config = filepath.Join(d.users, "nats-server.conf")
	d.asked = append([]string{
		"nats-config", "--users", d.users, "--listen", strings.TrimPrefix(d.url, "nats://"), "--monitoring", "",
		"--store-dir", store,
	}, flags...)
	d.configure()
	return d
}

// cluster makes three servers of the one.
func (d *closed) cluster() {
	d.t.Helper()
	routes := []string{porttest.Address(d.t), porttest.Address(d.t), porttest.Address(d.t)}
	flags := func(i int) (flags []string) {
		flags = []string{"--name", fmt.Sprint("n", i), "--cluster", "c", "--cluster-listen", routes[i]}
		for _, route := range routes {
			flags = append(flags, "--route", "nats://"+route)
		}
		return flags
	}
	for i := range 2 {
		address := porttest.Address(d.t)
		d.peers = append(d.peers, &peer{
			config: filepath.Join(d.users, fmt.Sprint("peer", i, ".conf")),
			flags:  append(flags(i+1), "--listen", address, "--store-dir", filepath.Join(d.t.TempDir(), "store")),
		})
		d.url += ",nats://" + address
	}
	d.asked = append(d.asked, flags(0)...)
	d.configure()
}

// startAll starts all servers.
func (d *closed) startAll() {
	d.t.Helper()
	first := d.url
	d.url, _, _ = strings.Cut(first, ",")
	d.startNATS()
	for _, p := range d.peers {
		p.run = d.start("nats-server", func() *exec.Cmd { return exec.Command(d.server, "-c", p.config) })
	}
	eventually(d.t, "the server listens", d.listens)
	d.url = first
}

// configure makes users and configuration, which has more flags from now on.
func (d *closed) configure(more ...string) {
	d.t.Helper()
	d.write(d.config, more...)
	for _, p := range d.peers {
		d.write(p.config, p.flags...)
	}
}

func (d *closed) write(file string, more ...string) {
	d.t.Helper()
	command := exec.Command(os.Args[0], append(slices.Clone(d.asked), more...)...)
	command.Env = append(os.Environ(), asProgram+"=1")
	var said bytes.Buffer
	command.Stderr = &said
	config, err := command.Output()
	if err != nil {
		d.t.Fatalf("nats-config: %v\n%s", err, said.String())
	}
	if err := os.WriteFile(file, config, 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// reload has the server take configuration and users as they are now.
func (d *closed) reload() {
	d.t.Helper()
	const reloaded = "Reloaded server configuration"
	for _, s := range d.servers() {
		before := strings.Count(s.output.String(), reloaded)
		if out, err := exec.Command(d.server, "--signal", fmt.Sprint("reload=", s.command.Process.Pid)).CombinedOutput(); err != nil {
			d.t.Fatalf("reload: %v\n%s", err, out)
		}
		eventually(d.t, "the server has reloaded", func() bool { return strings.Count(s.output.String(), reloaded) > before })
	}
}

func (d *closed) servers() []*process {
	all := []*process{d.nats}
	for _, p := range d.peers {
		all = append(all, p.run)
	}
	return all
}

// as is a service as a user.
func (d *closed) as(user, name string, arguments ...string) *process {
	d.t.Helper()
	if d.ca != "" {
		arguments = append([]string{"--nats-ca", d.ca}, arguments...)
	}
	return d.service(name, append([]string{d.flag, filepath.Join(d.users, user)}, arguments...)...)
}

// once is a program that ends, as a user.
func (d *closed) once(user string, arguments ...string) string {
	d.t.Helper()
	output, err := d.try(user, arguments...)
	if err != nil {
		d.t.Fatalf("%v: %v\n%s", arguments, err, output)
	}
	return output
}

func (d *closed) try(user string, arguments ...string) (string, error) {
	d.t.Helper()
	command, output := program(d.t, append(arguments, "--nats", d.url, d.flag, filepath.Join(d.users, user))...)
	err := command.Run()
	return output.String(), err
}

func (d *closed) connectAs(user, role string) *bus.Bus {
	d.t.Helper()
	c := service.Connection{NATS: d.url, NATSCA: d.ca}
	if d.flag == "--nats-nkey-file" {
		c.NATSNkeyFile = filepath.Join(d.users, user)
	} else {
		c.NATSPasswordFile = filepath.Join(d.users, user)
	}
	b, err := c.Connect(d.t.Context(), role, quiet)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(b.Close)
	return b
}

// violations are what the server refused.
func (d *closed) violations() (lines []string) {
	seen := map[string]bool{}
	for _, s := range d.servers() {
		for line := range strings.Lines(s.output.String()) {
			if _, what, ok := strings.Cut(line, "Violation - "); ok {
				if what, _, _ = strings.Cut(what, ", SID"); !seen[what] {
					seen[what] = true
					lines = append(lines, strings.TrimSpace(line))
				}
			}
		}
	}
	return lines
}

// Every service as a role of its own, on a server with the printed configuration: the whole path runs, in both modes, with two
// fusers, pictures from outside, POST /predict and a group that is added meanwhile, while services are killed; and the server has
// nothing to refuse.
func TestServicesAsTheirRoles(t *testing.T) {
	t.Parallel()
	for _, way := range []struct {
		name, flag string
		flags      []string
		servers    int
	}{
		{"passwords", "--nats-password-file", nil, 1},
		{"nkeys", "--nats-nkey-file", []string{"--nkeys"}, 1},
		{"cluster", "--nats-password-file", nil, 3},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			d := newClosed(t, append(way.flags, "--publisher", "publisher=smoke,outside", "--reader", "reader=film")...)
			d.flag = way.flag
			if way.servers > 1 {
				d.cluster()
			}
			runAsRoles(t, d, way.servers)
		})
	}
}

func runAsRoles(t *testing.T, d *closed, replicas int) {
	detect, depth := noCost(t)
	d.startAll()
	provisioner := d.as("provisioner-a", "provision", "--watch", "--replicas", fmt.Sprint(replicas), "--live-replicas", "1")
	provisioner.says("provisioned:")
	reader := d.connectAs("reader-a", "reader")
	read := make(chan *nats.Msg, 1024)
	for _, subject := range []string{flow.SceneFilter(flow.AnyPartition, "film", ""), "scenes.live.*.film"} {
		if _, err := reader.Conn().ChanSubscribe(subject, read); err != nil {
			t.Fatal(err)
		}
	}
	if err := reader.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	detecting := d.as("detect-a", "worker", "--group", "detect", "--model", detect)
	d.as("depth-a", "worker", "--group", "depth", "--model", depth, "--depth-size", "56")
	fusing := d.as("fuser-a", "fuser")
	d.as("fuser-b", "fuser")
	address := porttest.Address(t)
	d.as("gateway-a", "gateway", "--http", address)
	producer := d.as("producer-a", "producer", "--ingest", "--allow-source", "street:*", "--run", "roles", "--frames", "120",
		"--source", "film=street:?seed=7&fps=20&size=320x180#mode=lossless", "--source", "camera=street:?seed=8&fps=10&size=320x180#mode=live")

	own := d.connectAs("provisioner-a", "provisioner")
	position(t, own, "film", "roles", 20)
	detecting.kill()
	detecting.run()
	fusing.kill()
	position(t, own, "film", "roles", 40)
	fusing.run()

	// A group that is added: its role is made of its name, and nobody is dropped.
	d.asked = append(d.asked, "--group", "detect,depth,third")
	d.configure()
	d.reload()
	groups := `[{"name":"detect","slot":1},{"name":"depth","slot":2},{"name":"third","slot":3,"task":"detect","need":"optional"}]`
	d.as("third-a", "worker", "--group", "third", "--task", "detect", "--model", detect)
	if said := d.once("provisioner-b", "provision", "--groups", groups, "--replicas", fmt.Sprint(replicas), "--live-replicas", "1"); !strings.Contains(said, "provisioned:") {
		t.Errorf("provision says %s", said)
	}
	position(t, own, "film", "roles", 60)
	producer.kill()
	producer.run()
	if command, output := program(t, "--gateway", "http://"+address, "--nats", d.url, d.flag, filepath.Join(d.users, "publisher-a")); true {
		command.Env = append(os.Environ(), asProgram+"=smoke")
		if err := command.Run(); err != nil {
			t.Errorf("smoke: %v\n%s", err, output)
		}
	}
	asked := configured.Request{Op: configured.OpPut, Name: "added", Source: configured.Source{URI: "street:?seed=9&fps=5&size=320x180"}}
	if answer := configured.Ask(t.Context(), d.connectAs("gateway-b", "gateway"), asked, 1); answer.Code != configured.CodeMade {
		t.Errorf("a source is configured: %+v", answer)
	}
	position(t, own, "film", "roles", 120)
	eventually(t, "the source that was added has scenes", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := own.LastLiveScene(ctx, "added")
		return err == nil
	})
	eventually(t, "the third group answers", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		scene, err := own.LastLiveScene(ctx, "camera")
		return err == nil && strings.Contains(fmt.Sprint(scene.Plan), "third")
	})
	eventually(t, "runs list has the run", func() bool { // in a cluster nobody answers while a leader is chosen
		said, err := d.try("provisioner-a", "runs", "list")
		return err == nil && strings.Contains(said, "roles")
	})
	var status struct {
		NATS struct {
			Error   string
			Streams []struct{ Stream string }
		}
	}
	eventually(t, "the gateway tells of all streams", func() bool {
		answer, err := http.Get("http://" + address + "/api/v1/status")
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		return json.NewDecoder(answer.Body).Decode(&status) == nil && status.NATS.Error == "" && len(status.NATS.Streams) >= 13
	})
	for seen := 0; seen < 120; { // what is published again, after a kill, is stored once, and heard twice
		msg := next(t, read)
		seq, err := strconv.Atoi(msg.Subject[strings.LastIndexByte(msg.Subject, '.')+1:])
		if err != nil || seq > seen+1 {
			t.Fatalf("the reader has %s after %d, %v", msg.Subject, seen, err)
		}
		seen = max(seen, seq)
	}
	if refused := d.violations(); len(refused) > 0 {
		t.Errorf("the server refused:\n%s", strings.Join(refused, "\n"))
	}
	if err := reader.Conn().Publish("frames.live.detect._.film", nil); err != nil { // so that this test can fail
		t.Fatal(err)
	}
	eventually(t, "the server tells of what it refuses", func() bool { return len(d.violations()) > 0 })
}

// NATS's own program looks at everything as the monitor, and changes nothing.
func TestMonitorLooks(t *testing.T) {
	t.Parallel()
	d := newClosed(t)
	d.startAll()
	d.once("provisioner-a", "provision")
	file, err := os.ReadFile(filepath.Join(d.users, "monitor-a"))
	if err != nil {
		t.Fatal(err)
	}
	user, password, _ := strings.Cut(strings.TrimSpace(string(file)), "\n")
	ask := func(arguments ...string) error {
		command := exec.Command(filepath.Join(fixture(t, natsProgram), "nats"), arguments...)
		command.Env = append(os.Environ(), "NATS_URL="+d.url, "NATS_USER="+user, "NATS_PASSWORD="+password, "NATS_TIMEOUT=2s", "XDG_CONFIG_HOME="+t.TempDir())
		return output(command)
	}
	for _, arguments := range [][]string{
		{"stream", "report"}, {"stream", "ls"}, {"stream", "info", "FRAMES_LOSSLESS"}, {"consumer", "ls", "FRAMES_LIVE"},
		{"consumer", "report", "FRAMES_LIVE"}, {"consumer", "info", "FRAMES_LIVE", "detect"}, {"account", "info"},
	} {
		if err := ask(arguments...); err != nil {
			t.Error(err)
		}
	}
	if refused := d.violations(); len(refused) > 0 {
		t.Errorf("the server refused:\n%s", strings.Join(refused, "\n"))
	}
	for _, arguments := range [][]string{
		{"stream", "purge", "SCENES_LOSSLESS", "--force"}, {"stream", "rm", "SCENES_LOSSLESS", "--force"}, {"consumer", "rm", "FRAMES_LIVE", "detect", "--force"},
		{"stream", "get", "KV_deployment", "1"}, {"kv", "put", "deployment", "deployment", "{}"},
	} {
		if ask(arguments...) == nil {
			t.Errorf("the monitor may %v", arguments)
		}
	}
}
