package standalone

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/natsserver"
	"github.com/spatial-flow/spatial-flow/flow/porttest"
)

// A group whose worker is a Python program of at most 60 lines: what it answers is in every scene of a film that requires it, and
// the film waits for it.
func TestForeignWorker(t *testing.T) {
	t.Parallel()
	const file = "brightness.py"
	folder := filepath.Join("..", "examples", "python")
	text, err := os.ReadFile(filepath.Join(folder, file))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "\n"); n > 60 {
		t.Errorf("%s has %d lines, at most 60", file, n)
	}
	address := porttest.Address(t)
	worker := brightness(t, address)
	const frames = 40
	up := newUp(t, pictures(t, frames)) // grey, from 60 to 123
	up.NATSListen, up.Group, up.Scenes = address, []string{"brightness=required"}, filepath.Join(t.TempDir(), "scenes.jsonl")
	up.Sources = append(up.Sources, brokenPicture(t))
	said := new(said)
	ended := make(chan error, 1)
	go func() { ended <- up.RunPipeline(t.Context(), io.Discard, said, quiet) }()
	eventually(t, "the film waits for the group", func() bool { return strings.Contains(said.String(), "group brightness has no worker") })
	worker.run()
	defer func() {
		worker.kill()
		if t.Failed() {
			t.Logf("%s said:\n%s\nup said:\n%s", worker.name, worker.output.String(), said.String())
		}
	}()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, scene := range lines(t, up.Scenes) {
		if scene.Frame.Source == "broken" {
			if scene.Outcome != flow.OutcomeError || !strings.Contains(scene.Errors["brightness"], "0 bytes") {
				t.Errorf("of a broken picture: %s, %v", scene.Outcome, scene.Errors)
			}
			continue
		}
		seen++
		var mean float64
		if err := json.Unmarshal(scene.Answers["brightness"]["mean"], &mean); err != nil || mean < 88 || mean > 95 {
			t.Errorf("%s: answers %s, %v, want a mean of about 91.5", scene.Frame, scene.Answers, err)
		}
		if scene.Outcome != flow.OutcomeComplete || len(scene.Detections) != 8 || fmt.Sprint(scene.Plan) != "[detect depth brightness]" {
			t.Errorf("%s: %s, %d detections, plan %v", scene.Frame, scene.Outcome, len(scene.Detections), scene.Plan)
		}
	}
	if seen != frames {
		t.Errorf("%d scenes, want %d", seen, frames)
	}
}

// brightness is the Python program with its packages, which finds NATS at the address.
func brightness(t *testing.T, address string) *process {
	t.Helper()
	folder := filepath.Join("..", "examples", "python")
	const file = "brightness.py"
	packages := fixture(t, pythonPackages)
	return &process{t: t, name: file, start: func() *exec.Cmd {
		command := exec.Command("python3", filepath.Join(folder, file))
		command.Env = append(os.Environ(), "PYTHONPATH="+packages, "PYTHONDONTWRITEBYTECODE=1", "NATS_URL=nats://"+address)
		return command
	}}
}

// A frame of version 1 is answered where the frames of its session are joined.
func TestForeignWorkerReadsVersion1(t *testing.T) {
	t.Parallel()
	s, err := natsserver.Start(t.TempDir(), "127.0.0.1:0", "", quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	b, err := s.Connect("test", quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	groups := flow.Groups{{Name: "brightness", Slot: 1, Task: flow.TaskOther}}
	if err := b.Provision(t.Context(), flow.DefaultDeployment().With(groups)); err != nil {
		t.Fatal(err)
	}
	const source = "film7" // of partition 2 of 4
	frame := &flow.Frame{
		Version: 1, Source: source, Session: "s", Seq: 1, Mode: flow.ModeLossless, Captured: 1, Sent: time.Now().UnixNano(), Width: 64, Height: 48,
		Plan: []string{"brightness"}, Error: "there is no picture", Ledger: []flow.Hop{{Stage: "producer"}},
	}
	if err := b.PublishFrame(t.Context(), groups, frame); err != nil {
		t.Fatal(err)
	}
	worker := brightness(t, strings.TrimPrefix(s.URL(), "nats://"))
	worker.run()
	defer worker.kill()
	messages, err := b.TakeResults(t.Context(), "brightness", flow.ModeLossless, flow.FirstPartition(source), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Stop()
	msg, err := messages.Next(jetstream.NextMaxWait(time.Minute))
	if err != nil {
		t.Fatalf("it is not answered: %v\n%s", err, worker.output.String())
	}
	result := new(flow.Result)
	if err := flow.Decode(msg.Data(), result); err != nil {
		t.Fatal(err)
	}
	if err := result.Validate(); err != nil || result.Version != 1 || result.ID() != frame.ID() || result.Error != frame.Error {
		t.Errorf("answered with %+v, %v", result, err)
	}
}

// brokenPicture is a folder "broken" of one file without bytes.
func brokenPicture(t *testing.T) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "broken")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "1.jpg"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return folder
}
