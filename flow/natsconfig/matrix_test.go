package natsconfig_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/spatial-flow/spatial-flow/flow/natsconfig"
	"github.com/spatial-flow/spatial-flow/flow/roles"
	"github.com/spatial-flow/spatial-flow/flow/service"
)

var update = flag.Bool("update", false, "write the tables of docs/security.md")

// serve starts a server with what the flags of nats-config print, without JetStream: what is asked of it changes nothing. users is the
// folder of the users' files.
func serve(t *testing.T, flags func(*natsconfig.Command)) (address, users string) {
	t.Helper()
	users = t.TempDir()
	var c natsconfig.Command
	if err := service.Defaults(&c); err != nil {
		t.Fatal(err)
	}
	c.Users, c.Listen, c.Monitoring = users, "127.0.0.1:-1", ""
	flags(&c)
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := c.Run(&text, io.Discard); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(users, "nats-server.conf")
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	options := new(server.Options)
	if err := options.ProcessConfigFile(file); err != nil {
		t.Fatalf("%v\n%s", err, text.String())
	}
	options.JetStream, options.NoLog, options.NoSigs = false, true, true
	s, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server is not ready")
	}
	return s.Addr().String(), users
}

// client speaks NATS's protocol itself, which answers in the order of what is asked.
type client struct {
	t      *testing.T
	conn   net.Conn
	reader *bufio.Reader
}

func dial(t *testing.T, address, file string) *client {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	user, password, _ := strings.Cut(strings.TrimSpace(string(data)), "\n")
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &client{t, conn, bufio.NewReader(conn)}
	login, err := json.Marshal(map[string]any{"user": user, "pass": password, "verbose": false, "pedantic": false, "protocol": 1})
	if err != nil {
		t.Fatal(err)
	}
	if refused := c.ask(fmt.Sprintf("CONNECT %s\r\n", login)); len(refused) > 0 {
		t.Fatalf("%s: %v", user, refused)
	}
	return c
}

// ask sends commands, and returns the subjects that the server refuses.
func (c *client) ask(commands string) (refused map[string]bool) {
	c.t.Helper()
	go func() { _, _ = io.WriteString(c.conn, commands+"PING\r\n") }() // a failure shows in the answer
	refused = map[string]bool{}
	for {
		line, err := c.reader.ReadString('\n')
		if err != nil {
			c.t.Fatal(err)
		}
		switch line = strings.TrimSpace(line); {
		case line == "PONG":
			return refused
		case strings.HasPrefix(line, "-ERR"):
			_, rest, ok := strings.Cut(line, `"`)
			subject, _, closed := strings.Cut(rest, `"`)
			if !ok || !closed || !strings.Contains(line, "Permissions Violation") {
				c.t.Fatalf("the server says %s", line)
			}
			refused[subject] = true
		}
	}
}

// allowed are those of the subjects that the client may publish, or subscribe, to.
func (c *client) allowed(command string, subjects []string) map[string]bool {
	c.t.Helper()
	allowed := map[string]bool{}
	for chunk := range slices.Chunk(subjects, 500) {
		var commands strings.Builder
		for i, subject := range chunk {
			if command == "PUB" {
				fmt.Fprintf(&commands, "PUB %s 0\r\n\r\n", subject)
			} else {
				fmt.Fprintf(&commands, "SUB %s %d\r\nUNSUB %d\r\n", subject, i+1, i+1)
			}
		}
		refused := c.ask(commands.String())
		for _, subject := range chunk {
			allowed[subject] = !refused[subject]
		}
	}
	return allowed
}

// calls are all of JetStream's API in the server's own source: a new version's are asked for too.
func calls(t *testing.T) []string {
	t.Helper()
	folder, err := exec.Command("go", "list", "-f", "{{.Dir}}", "github.com/nats-io/nats-server/v2/server").Output()
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(strings.TrimSpace(string(folder)), "jetstream_api.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		literal, ok := n.(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return true
		}
		text, err := strconv.Unquote(literal.Value)
		call, isCall := strings.CutPrefix(text, "$JS.API.")
		if err == nil && isCall && !strings.HasSuffix(call, ".") && call != ">" {
			found[strings.ReplaceAll(call, "%s", "*")] = true
		}
		return true
	})
	for _, known := range []string{"INFO", "STREAM.CREATE.*", "STREAM.MSG.GET.*", "CONSUMER.CREATE.*.*.*", "CONSUMER.MSG.NEXT.*.*", "DIRECT.GET.*.*"} {
		if !found[known] {
			t.Fatalf("the call %s is not found in %v", known, slices.Sorted(maps.Keys(found)))
		}
	}
	delete(found, "CONSUMER.CREATE.*.>") // the same, in other words
	delete(found, "DIRECT.GET.*.>")
	return slices.Sorted(maps.Keys(found))
}

var streams = []string{
	"FRAMES_LIVE", "FRAMES_LOSSLESS", "RESULTS_DEPTH_LIVE", "RESULTS_DEPTH_LOSSLESS", "RESULTS_DETECT_LIVE", "RESULTS_DETECT_LOSSLESS",
	"SCENES_LIVE", "SCENES_LOSSLESS", "KV_attempts", "KV_deployment", "KV_owners", "KV_sources", "KV_spatialflow", "OTHERS",
}

// keys are one of each kind that the buckets hold.
var keys = map[string][]string{
	"KV_attempts":   {"attempt.detect.cam1.run.1", "attempt.depth.cam1.run.1"},
	"KV_deployment": {"deployment"}, "KV_sources": {"sources"},
	"KV_owners": {"partition.0", "source.cam1", "ingest", "provision"},
	"KV_spatialflow": {
		"position.cam1.run", "ended.cam1.run", "film.cam1.run", "position.*.*", "ended.*.*",
	},
}

// subjects of a call: of each stream, and each consumer, key or server that it may be about.
func subjects(call string) (all []string) {
	tokens := strings.Split(call, ".")
	stars := strings.Count(call, "*")
	fill := func(values ...string) {
		made := slices.Clone(tokens)
		for i := range made {
			if made[i] == "*" {
				made[i], values = values[0], values[1:]
			}
		}
		all = append(all, "$JS.API."+strings.Join(made, "."))
	}
	if stars == 0 {
		fill()
		return all
	}
	for _, stream := range streams {
		var filters []string
		for _, key := range keys[stream] {
			filters = append(filters, "$KV."+strings.TrimPrefix(stream, "KV_")+"."+key)
		}
		filters = append(filters, ">", "frames.>", "results.>", "scenes.>", "scenes.lossless.*.cam1.>")
		switch {
		case stars == 1:
			fill(stream)
		case strings.HasPrefix(call, "DIRECT.GET"):
			for _, filter := range filters {
				fill(stream, filter)
			}
		case stars == 3: // CONSUMER.CREATE
			for _, filter := range filters {
				fill(stream, "x", filter)
			}
		default:
			for _, consumer := range []string{"detect", "depth", "FUSE_0", "x"} {
				fill(stream, consumer)
			}
		}
	}
	return all
}

// families are what travels beside the API: what is published, what is listened to.
var families = []string{
	"ingest.cam1", "ingest.cam2", "frames.live.detect.depth.cam1", "frames.live.detect.depth._predict.predict-1", "frames.lossless.detect.depth.cam1", "accepted.live.detect.depth.cam1", "accepted.lossless.detect.depth.cam1",
	"results.detect.live.0.cam1", "results.detect.lossless.0.cam1", "results.depth.live.0.cam1", "results.depth.lossless.0.cam1",
	"scenes.live.0.cam1", "scenes.lossless.0.cam1.run.1", "scenes.live.0.cam2", "scenes.lossless.0.cam2.run.1",
	"done.detect.cam1", "done.depth.cam1", "done.fuser.cam1",
	"alive.provisioner.i", "alive.producer.i", "alive.detect.i", "alive.depth.i", "alive.fuser.i", "alive.gateway.i", "source.manage",
	"$KV.deployment.deployment", "$KV.sources.sources", "$KV.owners.partition.0", "$KV.owners.source.cam1", "$KV.owners.ingest", "$KV.owners.provision",
	"$KV.spatialflow.position.cam1.run", "$KV.spatialflow.ended.cam1.run", "$KV.spatialflow.film.cam1.run", "$KV.attempts.attempt.detect.cam1.run.1", "$KV.attempts.attempt.depth.cam1.run.1",
	"$JS.ACK.FRAMES_LIVE.detect.1.2.3.4.5", "$JS.ACK.FRAMES_LIVE.depth.1.2.3.4.5", "$JS.ACK.RESULTS_DETECT_LOSSLESS.FUSE_0.1.2.3.4.5",
	"$JS.ACK.hub.HASH.FRAMES_LIVE.detect.1.2.3.4.5", "$JS.ACK.hub.HASH.FRAMES_LIVE.depth.1.2.3.4.5", "$JS.ACK.hub.HASH.RESULTS_DETECT_LOSSLESS.FUSE_0.1.2.3.4.5",
	"$JS.EVENT.ADVISORY.STREAM.DELETED.FRAMES_LIVE", "$SYS.REQ.USER.INFO",
	"_INBOX_provisioner.x", "_INBOX_producer.x", "_INBOX_detect.x", "_INBOX_depth.x", "_INBOX_fuser.x", "_INBOX_gateway.x", "_INBOX_monitor.x", "_INBOX_publisher.x", "_INBOX_reader.x", "_INBOX.x",
}

// broad is what nobody may do.
var broad = []string{">", "*.>", "$JS.>", "$JS.*.>", "$KV.>", "$SYS.>", "$SYS.REQ.SERVER.PING", "_INBOX_*.>", "others.orders", "blue.frames.live.detect.cam1"}

// columns of the tables.
var columns = []roles.Role{
	{Kind: roles.Provisioner, Name: "provisioner"}, {Kind: roles.Producer, Name: "producer"}, {Kind: roles.Worker, Name: "detect"},
	{Kind: roles.Fuser, Name: "fuser"}, {Kind: roles.Gateway, Name: "gateway"}, {Kind: roles.Monitor, Name: "monitor"},
	{Kind: roles.Publisher, Name: "publisher", Sources: []string{"cam1"}}, {Kind: roles.Reader, Name: "reader", Sources: []string{"cam1"}},
}

// matches is how NATS compares a subject with a pattern.
func matches(pattern, subject string) bool {
	p, s := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i, token := range p {
		switch {
		case token == ">":
			return len(s) > i
		case i >= len(s) || token != "*" && token != s[i]:
			return false
		}
	}
	return len(p) == len(s)
}

func granted(patterns []string, subject string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, subject) })
}

// Each role is tried with every subject of the others, and every call of JetStream about every stream: a server with the printed configuration
// lets it do what the table names, and refuses all else. What it lets it do is docs/security.md.
func TestMatrix(t *testing.T) {
	t.Parallel()
	address, users := serve(t, func(c *natsconfig.Command) {
		c.Publisher, c.Reader = []string{"publisher=cam1"}, []string{"reader=cam1"}
	})
	table := roles.Table{Groups: []string{"detect", "depth"}}
	api := map[string][]string{}
	probes := slices.Concat(families, broad)
	for _, call := range calls(t) {
		api[call] = subjects(call)
		probes = append(probes, api[call]...)
	}
	for _, role := range slices.Concat(table.Services(), columns) { // what any of them is granted is asked of all
		permissions := table.Of(role)
		for _, pattern := range slices.Concat(permissions.Publish, permissions.Subscribe) {
			probes = append(probes, pattern, strings.NewReplacer("*", "x", ">", "x.y").Replace(pattern))
		}
	}
	slices.Sort(probes)
	probes = slices.Compact(probes)
	may := map[string][2]map[string]bool{}
	for _, role := range append(columns, roles.Role{Kind: roles.Worker, Name: "depth"}) {
		permissions := table.Of(role)
		var tried [2]map[string]bool
		for i, way := range []struct {
			command  string
			patterns []string
		}{{"PUB", permissions.Publish}, {"SUB", permissions.Subscribe}} {
			tried[i] = dial(t, address, filepath.Join(users, role.Name+"-b")).allowed(way.command, probes)
			for _, subject := range probes {
				if want := granted(way.patterns, subject); tried[i][subject] != want {
					t.Errorf("%s: %s %s: allowed %v, want %v", role.Name, way.command, subject, tried[i][subject], want)
				}
			}
		}
		may[role.Name] = tried
		for _, subject := range broad {
			if tried[0][subject] || tried[1][subject] {
				t.Errorf("%s may use %s", role.Name, subject)
			}
		}
		for _, other := range append(columns, roles.Role{Name: "depth"}) {
			if inbox := "_INBOX_" + other.Name + ".x"; tried[1][inbox] != (other.Name == role.Name) {
				t.Errorf("%s listens to %s: %v", role.Name, inbox, tried[1][inbox])
			}
		}
	}
	alone(t, may, api)
	tables := encode(may, api)
	file := filepath.Join("..", "..", "docs", "security.md")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- begin: go test ./flow/natsconfig -update -->\n", "<!-- end -->"
	before, rest, ok := strings.Cut(string(text), begin)
	now, after, closed := strings.Cut(rest, end)
	switch {
	case !ok || !closed:
		t.Fatalf("%s has no %q … %q", file, begin, end)
	case *update:
		if err := os.WriteFile(file, []byte(before+begin+tables+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	case now != tables:
		t.Errorf("docs/security.md says otherwise (make it again: go test ./flow/natsconfig -run Matrix -update):\n%s", tables)
	}
}

// alone is what only the provisioner may call, whatever it is about, and what outside roles may: nothing.
func alone(t *testing.T, may map[string][2]map[string]bool, api map[string][]string) {
	t.Helper()
	shared := map[string]bool{
		"INFO": true, "STREAM.INFO.*": true, "STREAM.NAMES": true, "STREAM.LIST": true, "STREAM.MSG.GET.*": true, "DIRECT.GET.*.*": true,
		"CONSUMER.CREATE.*.*.*": true, "CONSUMER.INFO.*.*": true, "CONSUMER.MSG.NEXT.*.*": true, "CONSUMER.NAMES.*": true, "CONSUMER.LIST.*": true,
	}
	for call, subjects := range api {
		for name, tried := range may {
			for _, subject := range subjects {
				switch allowed := tried[0][subject]; {
				case name == "provisioner" && !allowed:
					t.Errorf("the provisioner may not call %s", subject)
				case allowed && name != "provisioner" && !shared[call], allowed && (name == "publisher" || name == "reader"):
					t.Errorf("%s may call %s", name, subject)
				case allowed && name != "provisioner" && strings.HasPrefix(call, "CONSUMER.CREATE") && !strings.Contains(subject, ".KV_"):
					t.Errorf("%s may make the consumer %s", name, subject)
				case allowed && name != "provisioner" && name != "monitor" && strings.Contains(subject, "OTHERS"):
					t.Errorf("%s may call %s", name, subject)
				}
			}
		}
	}
}

// encode are the tables of what was allowed.
func encode(may map[string][2]map[string]bool, api map[string][]string) string {
	var text strings.Builder
	text.WriteString("\n| subject |")
	for _, role := range columns {
		switch role.Kind {
		case roles.Worker:
			text.WriteString(" worker of `detect` |")
		case roles.Publisher, roles.Reader:
			fmt.Fprintf(&text, " %s of `cam1` |", role.Kind)
		default:
			fmt.Fprintf(&text, " %s |", role.Kind)
		}
	}
	text.WriteString("\n|---" + strings.Repeat("|:-:", len(columns)) + "|\n")
	for _, subject := range families {
		if strings.HasPrefix(subject, "_INBOX_") {
			continue // each has its own
		}
		fmt.Fprintf(&text, "| `%s` |", subject)
		for _, role := range columns {
			cell := ""
			if may[role.Name][0][subject] {
				cell = " p"
			}
			if may[role.Name][1][subject] {
				cell += " s"
			}
			text.WriteString(cell + " |")
		}
		text.WriteString("\n")
	}
	text.WriteString("\n| call of JetStream | who besides the provisioner | about what |\n|---|---|---|\n")
	var nobody []string
	for _, call := range slices.Sorted(maps.Keys(api)) {
		others := false
		for _, role := range columns[1:] {
			what := about(call, api[call], may[role.Name][0])
			if what != "" {
				fmt.Fprintf(&text, "| `%s` | %s | %s |\n", call, role.Name, what)
				others = true
			}
		}
		if !others && !strings.HasSuffix(call, ">") {
			nobody = append(nobody, "`"+call+"`")
		}
	}
	fmt.Fprintf(&text, "\nThe provisioner alone: %s.\n\n", strings.Join(nobody, ", "))
	return text.String()
}

// about is what a call may be about: streams, and of a stream consumers or keys, where that is not all of them.
func about(call string, subjects []string, allowed map[string]bool) string {
	all, some, parts := map[string]int{}, map[string][]string{}, []string(nil)
	prefix := "$JS.API." + strings.TrimRight(call, ".*") + "."
	for _, subject := range subjects {
		stream, rest, _ := strings.Cut(strings.TrimPrefix(subject, prefix), ".")
		all[stream]++
		if allowed[subject] {
			some[stream] = append(some[stream], strings.TrimPrefix(rest, "x."))
		}
	}
	if len(some) == len(all) && maps.EqualFunc(all, some, func(n int, list []string) bool { return n == len(list) }) {
		return "all"
	}
	for _, stream := range slices.Sorted(maps.Keys(some)) {
		part := "`" + stream + "`"
		if list := some[stream]; len(list) < all[stream] {
			part += ": `" + strings.Join(list, "` `") + "`"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}
