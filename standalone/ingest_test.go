package standalone

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/porttest"
	"github.com/spatial-flow/spatial-flow/flow/reference"
)

// listening runs `spatialflow up --nats-listen` without sources until the test ends.
func listening(t *testing.T) (natsURL, gateway string) {
	t.Helper()
	address := porttest.Address(t)
	return "nats://" + address, running(t, func(u *Up) { u.NATSListen = address })
}

func connectJetStream(t *testing.T, url string) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	connection, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(connection.Close)
	js, err := jetstream.New(connection)
	if err != nil {
		t.Fatal(err)
	}
	return connection, js
}

// publish tries until the picture is taken: the producer may still be getting the ingest lease.
func publish(t *testing.T, js jetstream.JetStream, source string, data []byte) {
	t.Helper()
	var err error
	for begin := time.Now(); time.Since(begin) < patience; time.Sleep(20 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, err = js.Publish(ctx, "ingest."+source, data)
		cancel()
		if err == nil {
			return
		}
	}
	t.Fatalf("ingest.%s: %v", source, err)
}

// completeScene waits for one of a source, and publishes again and again: a live picture that waits for long, on a machine
// with much else to do, is dropped.
func completeScene(t *testing.T, gateway, source string, again func()) (scene api.Scene) {
	t.Helper()
	published := time.Now()
	eventually(t, "a complete scene of "+source, func() bool {
		if time.Since(published) > 3*time.Second {
			again()
			published = time.Now()
		}
		scene = newestScene(t, gateway+"/api/v1/sources/"+source+"/scene")
		return scene.Outcome == flow.OutcomeComplete
	})
	return scene
}

// Every way to publish a picture that people have at hand leads to a scene over the API and in the viewer: NATS's own
// program, JetStream in Go, and the Python example, whose scene the other example reads.
func TestIngestFromOtherPrograms(t *testing.T) {
	t.Parallel()
	url, gateway := listening(t)
	_, js := connectJetStream(t, url)
	data := grey(t, 320, 240, 90)
	publish(t, js, "first", data)

	program, home := filepath.Join(fixture(t, natsProgram), "nats"), t.TempDir()
	nats := func(stdin []byte, arguments ...string) string {
		t.Helper()
		command := exec.Command(program, append([]string{"--server", url}, arguments...)...)
		command.Stdin, command.Env = bytes.NewReader(stdin), append(os.Environ(), "HOME="+home)
		output, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("nats %s: %v\n%s", strings.Join(arguments, " "), err, output)
		}
		return string(output)
	}
	pub := func() { nats(data, "pub", "--no-templates", "--force-stdin", "ingest.cam1") }
	pub()
	completeScene(t, gateway, "cam1", pub)
	page := tab(t, gateway)
	eventually(t, "the viewer shows cam1", func() bool {
		return ask[bool](t, page, `(() => {
			const picker = [...document.querySelectorAll("select")].find(s => [...s.options].some(o => o.value === "cam1"));
			if (picker && picker.value !== "cam1") { picker.value = "cam1"; picker.dispatchEvent(new Event("change")); }
			return document.body.dataset.source === "cam1" && document.body.dataset.seq >= 1;
		})()`)
	})
	if answer := nats(data, "req", "--no-templates", "--force-stdin", "--raw", "ingest.cam2"); !strings.Contains(answer, `"stream":"FRAMES_LIVE"`) {
		t.Errorf("nats req is answered %q, want an ack", answer)
	}
	if answer := nats([]byte("no picture"), "req", "--no-templates", "--force-stdin", "--raw", "ingest.cam2"); !strings.Contains(answer, `"code":400`) || !strings.Contains(answer, "begins like no JPEG") {
		t.Errorf("nats req with text is answered %q, want the reason", answer)
	}

	examples := filepath.Join("..", "examples", "python")
	packages := fixture(t, pythonPackages)
	python := func(script string, arguments ...string) *exec.Cmd {
		command := exec.Command("python3", append([]string{filepath.Join(examples, script)}, arguments...)...)
		command.Env = append(os.Environ(), "PYTHONPATH="+packages, "NATS_URL="+url, "PYTHONDONTWRITEBYTECODE=1")
		return command
	}
	printed, err := os.Create(filepath.Join(t.TempDir(), "printed"))
	if err != nil {
		t.Fatal(err)
	}
	defer printed.Close()
	read := func() string {
		t.Helper()
		text, err := os.ReadFile(printed.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	reader := python("read_scenes.py", "bike")
	reader.Stdout, reader.Stderr = printed, printed
	if err := reader.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Process.Kill(); _ = reader.Wait() }()
	eventually(t, "the reader reads", func() bool { return strings.Contains(read(), "reading scenes.live.*.bike") })
	picture := filepath.Join(t.TempDir(), "bike.jpg")
	if err := os.WriteFile(picture, data, 0o600); err != nil {
		t.Fatal(err)
	}
	output, err := python("publish.py", "bike", picture).CombinedOutput()
	if err != nil || !strings.Contains(string(output), `bike.jpg {"stream":"FRAMES_LIVE","seq":`) {
		t.Errorf("publish.py: %v\n%s", err, output)
	}
	scene := completeScene(t, gateway, "bike", func() { publish(t, js, "bike", data) })
	for _, d := range scene.Detections {
		b := d.Box
		want := fmt.Sprintf("%d %s %.2f [%.0f, %.0f, %.0f, %.0f]", scene.Frame.Seq, d.Label, d.Score, b[0], b[1], b[2], b[3])
		eventually(t, "read_scenes.py prints "+want, func() bool { return strings.Contains(read(), want) })
	}
	if len(scene.Detections) == 0 {
		t.Error("nothing was found")
	}
}

// The reference pictures and 13 frames of a film go in at the door, and each comes out as a scene.
func TestIngestReferencePictures(t *testing.T) {
	t.Parallel()
	folder := reference.Path(t)
	frames := t.TempDir()
	if output, err := exec.Command("ffmpeg", "-v", "error", "-i", filepath.Join(folder, "data", "pedestrians.avi"), "-vf", `select=not(mod(n\,65))`,
		"-fps_mode", "vfr", "-q:v", "2", "-frames:v", "13", filepath.Join(frames, "%02d.jpg")).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, output)
	}
	paths, _ := filepath.Glob(filepath.Join(frames, "*.jpg"))
	if len(paths) != 13 {
		t.Fatalf("%d frames, want 13", len(paths))
	}
	more, _ := filepath.Glob(filepath.Join(folder, "data", "images", "*.jpg"))
	if len(more) == 0 {
		t.Fatal("no reference pictures")
	}
	url, _ := listening(t)
	connection, js := connectJetStream(t, url)
	scenes, err := connection.SubscribeSync("scenes.live.*.cam1")
	if err != nil {
		t.Fatal(err)
	}
	last := uint64(0)
	for _, path := range append(paths, more...) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		scene := new(flow.Scene)
		// A group that is late leaves it partial, or, when all are, without a scene.
		for begin := time.Now(); scene.Outcome != flow.OutcomeComplete && time.Since(begin) < patience; last = max(last, scene.Seq) {
			publish(t, js, "cam1", data)
			for *scene = (flow.Scene{}); scene.Seq <= last; { // one that is stored again, since its answer was late, comes twice
				msg, err := scenes.NextMsg(3 * time.Second)
				if errors.Is(err, nats.ErrTimeout) {
					*scene = flow.Scene{}
					break
				}
				if err != nil {
					t.Fatalf("%s: %v", path, err)
				}
				*scene = flow.Scene{}
				if err := flow.Decode(msg.Data, scene); err != nil {
					t.Fatal(err)
				}
			}
		}
		if text, _ := json.Marshal(scene.Errors); scene.Outcome != flow.OutcomeComplete {
			t.Errorf("%s: scene %d is %s %s, want complete", path, scene.Seq, scene.Outcome, text)
		}
	}
}
