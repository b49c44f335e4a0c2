package standalone

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/porttest"
	"github.com/spatial-flow/spatial-flow/flow/reference"
)

// deployment is a NATS server and services, each a process of its own.
type deployment struct {
	t      *testing.T
	server string // program
	config string // of the server
	url    string
	nats   *process
}

// process can be killed and started again.
type process struct {
	t       *testing.T
	name    string
	start   func() *exec.Cmd
	command *exec.Cmd
	output  said
	ended   chan error
}

// said is what a process has said so far.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(data []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(data)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (p *process) run() *process {
	p.t.Helper()
	p.command = p.start()
	p.command.Stdout, p.command.Stderr = &p.output, &p.output
	p.ended = make(chan error, 1)
	if err := p.command.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func(c *exec.Cmd, ended chan<- error) { ended <- c.Wait() }(p.command, p.ended)
	return p
}

// kill is kill -9.
func (p *process) kill() {
	_ = p.command.Process.Kill() // it may have ended by itself
	<-p.ended
	p.ended <- nil
}

// says waits until the process has said so.
func (p *process) says(what string) {
	p.t.Helper()
	eventually(p.t, p.name+" says "+what, func() bool { return strings.Contains(p.output.String(), what) })
}

// newDeployment is one in which nothing runs yet.
func newDeployment(t *testing.T) *deployment {
	t.Helper()
	folder := t.TempDir()
	d := &deployment{t: t, server: filepath.Join(fixture(t, natsServer), "nats-server"), config: filepath.Join(folder, "nats.conf")}
	address := porttest.Address(t)
	d.url = "nats://" + address
	config := fmt.Sprintf("listen: %q\nmax_payload: 4MB\njetstream { store_dir: %q, max_file: 20GB }\n", address, filepath.Join(folder, "store"))
	if err := os.WriteFile(d.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *deployment) startNATS() *process {
	d.nats = d.start("nats-server", func() *exec.Cmd { return exec.Command(d.server, "-c", d.config) })
	return d.nats
}

func (d *deployment) listens() bool {
	c, err := net.Dial("tcp", strings.TrimPrefix(d.url, "nats://"))
	if err == nil {
		c.Close()
	}
	return err == nil
}

// service starts a program of ours.
func (d *deployment) service(name string, arguments ...string) *process {
	d.t.Helper()
	arguments = append([]string{"--nats", d.url, "--admin", ""}, arguments...)
	return d.start(name, func() *exec.Cmd {
		command := exec.Command(os.Args[0], arguments...)
		command.Env = append(os.Environ(), asProgram+"="+name)
		return command
	})
}

func (d *deployment) start(name string, start func() *exec.Cmd) *process {
	d.t.Helper()
	p := (&process{t: d.t, name: name, start: start}).run()
	d.t.Cleanup(func() {
		p.kill()
		if d.t.Failed() {
			d.t.Logf("%s said:\n%s", name, p.output.String())
		}
	})
	return p
}

func (d *deployment) provision() {
	d.t.Helper()
	command, output := program(d.t, "provision", "--nats", d.url)
	if err := command.Run(); err != nil || !strings.Contains(output.String(), "provisioned:") {
		d.t.Fatalf("provision: %v\n%s", err, output)
	}
}

func (d *deployment) connect() *bus.Bus {
	d.t.Helper()
	b, err := bus.Connect(bus.Options{URL: d.url, Role: "test"})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(b.Close)
	return b
}

// position waits until a run has come so far.
func position(t *testing.T, b *bus.Bus, source, run string, seq uint64) {
	t.Helper()
	eventually(t, fmt.Sprintf("scene %d of %s is stored", seq, source), func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		now, _, err := b.Position(ctx, source, run)
		return err == nil && now.Seq >= seq
	})
}

// Separate services against a real server, started before it is there; every one of them, and the server, is killed with
// -9 in the middle of a run. The scenes are those of standalone: each once and in order; on a machine with nothing else
// to do, never 5 s without one.
func TestSeparateServicesSurviveKills(t *testing.T) {
	t.Parallel()
	const frames = 100
	source := "cam1=street:?seed=7&fps=30&size=320x180#mode=lossless"
	if film, there := reference.Part(t, "data", "pedestrians.avi"); there {
		source = "cam1=" + film + "#mode=lossless"
	}
	detect, depth := noCost(t)
	d := newDeployment(t)
	var workers []*process
	for range 2 {
		workers = append(workers, d.service("worker", "--group", "detect", "--model", detect),
			d.service("worker", "--group", "depth", "--model", depth, "--depth-size", "56"))
	}
	fusers := []*process{d.service("fuser"), d.service("fuser")}
	d.service("gateway", "--http", "127.0.0.1:0")
	for _, p := range append(workers, fusers...) {
		p.says("waiting for nats")
	}
	d.startNATS()
	eventually(t, "the server listens", d.listens)
	produce := []string{"--source", source, "--frames", fmt.Sprint(frames), "--run", "kills", "--exit-when-done"}
	producer := d.service("producer", produce...)
	producer.says("waiting for the deployment object")
	d.provision()
	b := d.connect()

	for i, victim := range []*process{workers[0], fusers[0], workers[1], d.nats, producer, fusers[1]} {
		position(t, b, "cam1", "kills", 12*uint64(i+1))
		victim.kill()
		victim.run()
	}
	select {
	case err := <-producer.ended:
		if err != nil {
			t.Errorf("producer ended with %v", err)
		}
		producer.ended <- nil
	case <-time.After(patience):
		t.Fatal("the producer never ends")
	}

	up := newUp(t, source)
	up.Mode, up.Frames, up.Scenes = "", frames, filepath.Join(t.TempDir(), "scenes.jsonl")
	pipe := piped(t, up, nil)
	pipe.Producer.Unpaced = true
	if err := pipe.Run(t.Context(), io.Discard, io.Discard, quiet); err != nil {
		t.Fatal(err)
	}
	want := lines(t, up.Scenes)
	got, longest := storedScenes(t, b, frames)
	ignore := cmp.Options{cmpopts.IgnoreFields(api.Scene{}, "Captured", "Ledger"), cmpopts.IgnoreFields(api.Frame{}, "Session")}
	if diff := cmp.Diff(want, got, ignore); diff != "" {
		t.Errorf("the scenes differ from standalone's:\n%.2000s", diff)
	}
	if long && longest > 5*time.Second {
		t.Errorf("the source was silent for %v", longest)
	}
	t.Logf("longest silence %v", longest)
}

// storedScenes reads all scenes, which must be n, each once, and tells the longest time between two.
func storedScenes(t *testing.T, b *bus.Bus, n int) (scenes []api.Scene, longest time.Duration) {
	t.Helper()
	messages, err := b.ReadScenes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Stop()
	fused := int64(0)
	for {
		wait := patience
		if len(scenes) == n {
			wait = time.Second // for one too many
		}
		msg, err := messages.Next(jetstream.NextMaxWait(wait))
		if err != nil {
			break
		}
		scene := new(flow.Scene)
		if err := flow.Decode(msg.Data(), scene); err != nil {
			t.Fatal(err)
		}
		if fused > 0 {
			longest = max(longest, time.Duration(scene.Fused-fused))
		}
		fused = scene.Fused
		scenes = append(scenes, scene.JSON())
		if int(scene.Seq) != len(scenes) {
			t.Fatalf("scene %d came as number %d", scene.Seq, len(scenes))
		}
	}
	if len(scenes) != n {
		t.Fatalf("%d scenes are stored, want %d", len(scenes), n)
	}
	return scenes, longest
}

// A worker that is killed shows as gone on the status page, and the next one as alive. How soon, the gateway's TestFleet
// tells by a clock of its own.
func TestStatusPageSeesAWorkerDie(t *testing.T) {
	t.Parallel()
	detect, _ := noCost(t)
	d := newDeployment(t)
	d.startNATS()
	eventually(t, "the server listens", d.listens)
	d.provision()
	address := porttest.Address(t)
	d.service("gateway", "--http", address)
	worker := d.service("worker", "--group", "detect", "--model", detect)
	eventually(t, "the gateway listens", func() bool {
		answer, err := http.Get("http://" + address + "/api/v1/status")
		if err == nil {
			answer.Body.Close()
		}
		return err == nil
	})
	page := tab(t, "http://"+address+"/status")
	rows := func(state string) bool {
		return ask[bool](t, page, fmt.Sprintf(`document.querySelectorAll('#services [data-stage="detect"][data-state=%q]').length === 1`, state))
	}
	eventually(t, "the worker is alive", func() bool { return rows("alive") })
	worker.kill()
	eventually(t, "the worker is gone", func() bool { return rows("gone") })
	worker.run()
	eventually(t, "the new worker is alive", func() bool { return rows("alive") })
	if text := ask[string](t, page, `document.querySelector('#groups [data-group="detect"]').dataset.workers`); text != "1" {
		t.Errorf("the group has %s workers, want 1", text)
	}
}
