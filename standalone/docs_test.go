//go:build !race

// The race detector makes these ten times slower and sees in them what it sees in others.

package standalone

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow/porttest"
	"github.com/spatial-flow/spatial-flow/workers/models"
)

// block is a shell block of a page: its info string, and what is in it.
var block = regexp.MustCompile("(?ms)^```sh( background)?\n(.*?)^```$")

// The commands of every page of the docs, in the order of the page, in a folder with the files that they name. What is
// marked background runs beside the others until the end of the page. Addresses are free ones, and the models of no cost.
func TestDocsCommands(t *testing.T) {
	t.Parallel()
	programs := fixture(t, natsProgram) + ":" + fixture(t, natsServer)
	film := filepath.Join(t.TempDir(), "clip.mp4")
	if output, err := exec.Command("ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=10:duration=3", "-c:v", "mpeg4", film).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, output)
	}
	for _, page := range []string{"run", "publish", "read", "models", "deploy", "cameras", "security"} {
		t.Run(page, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(filepath.Join("..", "docs", page+".md"))
			if err != nil {
				t.Fatal(err)
			}
			blocks := block.FindAllStringSubmatch(string(text), -1)
			if len(blocks) == 0 {
				t.Fatal("the page has no commands")
			}
			shell := newShell(t, programs, film)
			for _, b := range blocks {
				if b[1] != "" {
					shell.background(b[2])
					continue
				}
				for line := range strings.Lines(b[2]) {
					shell.run(strings.TrimSpace(line))
				}
			}
		})
	}
}

// shell is a folder where commands of the docs run.
type shell struct {
	t         *testing.T
	folder    string
	env       []string
	addresses *strings.Replacer
}

// newShell makes one. programs are folders of some that the commands name, besides ours.
func newShell(t *testing.T, programs, film string) *shell {
	t.Helper()
	s := &shell{t: t, folder: t.TempDir()}
	link := func(to, from string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(s.folder, from)); err != nil {
			t.Fatal(err)
		}
	}
	examples, err := filepath.Abs(filepath.Join("..", "examples"))
	if err != nil {
		t.Fatal(err)
	}
	link(examples, "examples")
	link(film, "clip.mp4")
	for name, data := range map[string][]byte{"yolov8n.onnx": models.NoCostDetect, "depth.onnx": models.NoCostDepth, "picture.jpg": grey(t, 320, 240, 90)} {
		if err := os.WriteFile(filepath.Join(s.folder, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(s.folder, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, program := range map[string]string{"spatialflow": "1", "worker": "worker", "fuser": "fuser", "gateway": "gateway", "producer": "producer", "provision": "provision", "smoke": "smoke"} {
		script := fmt.Sprintf("#!/bin/sh\n%s=%s exec '%s' \"$@\"\n", asProgram, program, os.Args[0])
		if err := os.WriteFile(filepath.Join(s.folder, "bin", name), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	packages, pip := t.TempDir(), t.TempDir() // pip installs into a folder of the page's
	script := fmt.Sprintf("#!/bin/sh\nexec python3 -m pip \"$@\" -q --disable-pip-version-check --root-user-action=ignore --target %s\n", packages)
	if err := os.WriteFile(filepath.Join(pip, "pip"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	http, nats, second := porttest.Address(t), porttest.Address(t), porttest.Address(t)
	s.addresses = strings.NewReplacer("127.0.0.1:8000", http, "127.0.0.1:4222", nats, "127.0.0.1:8014", porttest.Address(t), "127.0.0.1:8443", porttest.Address(t), "127.0.0.1:8015", porttest.Address(t),
		"127.0.0.1:8016", second, "0.0.0.0:8016", "0.0.0.0"+strings.TrimPrefix(second, "127.0.0.1"))
	s.env = append(os.Environ(), "PATH="+pip+":"+programs+":"+os.Getenv("PATH"), "HOME="+s.folder, "PYTHONPATH="+packages, "PYTHONDONTWRITEBYTECODE=1", "NATS_URL=nats://"+nats,
		"SPATIALFLOW_GATEWAY=http://"+http, "SPATIALFLOW_HTTP="+http, "SPATIALFLOW_ADMIN="+porttest.Address(t), "SPATIALFLOW_DEPTH_SIZE=56",
		"XDG_CACHE_HOME="+cacheFolder(t))
	return s
}

// cacheFolder is where make puts libonnxruntime, whatever HOME is.
func cacheFolder(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return cache
}

func (s *shell) command(text string) *exec.Cmd {
	command := exec.Command("bash", "-c", s.addresses.Replace(text))
	command.Dir, command.Env = s.folder, append(s.env, "NATS_URL="+s.addresses.Replace("nats://127.0.0.1:4222"))
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return command
}

func (s *shell) background(text string) {
	s.t.Helper()
	output, err := os.Create(filepath.Join(s.t.TempDir(), "output"))
	if err != nil {
		s.t.Fatal(err)
	}
	command := s.command(text)
	command.Stdout, command.Stderr = output, output
	if err := command.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL) // it, and what it started
		_ = command.Wait()
		output.Close()
		if data, err := os.ReadFile(output.Name()); err == nil && s.t.Failed() {
			s.t.Logf("in the background:\n%s\nsaid\n%.3000s", text, data)
		}
	})
}

// run runs a command, again until it succeeds: what runs in the background may still be starting.
func (s *shell) run(text string) {
	s.t.Helper()
	var output []byte
	var err error
	for begin := time.Now(); time.Since(begin) < patience; time.Sleep(200 * time.Millisecond) {
		if output, err = s.command(text).CombinedOutput(); err == nil {
			return
		}
	}
	s.t.Fatalf("%s\n%v\n%.3000s", text, err, output)
}
