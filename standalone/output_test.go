package standalone

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"os/exec"
	ossignal "os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow/service"
)

// apart is spatialflow with the models of no cost, its standard output and error apart, and a folder for what is temporary.
func apart(t *testing.T, arguments ...string) (command *exec.Cmd, errors *bytes.Buffer, temporary string) {
	t.Helper()
	detect, depth := noCost(t)
	arguments = append(arguments, "--detect-model", detect, "--depth-model", depth, "--depth-size", "56")
	if arguments[0] == "up" {
		arguments = append(arguments, "--http", "127.0.0.1:0", "--admin", "")
	}
	command, _ = program(t, arguments...)
	temporary, errors = t.TempDir(), new(bytes.Buffer)
	command.Env = append(command.Env, "TMPDIR="+temporary)
	command.Stdout, command.Stderr = nil, errors
	return command, errors, temporary
}

func wantNothingLeft(t *testing.T, folder string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.Name() != ".ses" { // ONNX Runtime's own, one for all programs that load it
			t.Errorf("%s stays", entry.Name())
		}
	}
}

// Scenes that go to standard output have it to themselves.
func TestScenesToStandardOutput(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"-", "/dev/stdout"} {
		t.Run(strings.ReplaceAll(path, "/", "_"), func(t *testing.T) {
			t.Parallel()
			command, said, temporary := apart(t, "up", "--source", pictures(t, 5), "--exit-when-done", "--scenes", path)
			file, err := os.Create(filepath.Join(t.TempDir(), "scenes"))
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			command.Stdout, command.Dir = file, t.TempDir()
			if err := command.Run(); err != nil {
				t.Fatal(err, said)
			}
			scenes := lines(t, file.Name())
			if len(scenes) != 5 || scenes[4].Frame.File != "00004.jpg" {
				t.Errorf("%d scenes, %+v", len(scenes), scenes)
			}
			if !strings.Contains(said.String(), "p95") {
				t.Errorf("no summary on standard error: %s", said)
			}
			wantNothingLeft(t, temporary)
			wantNothingLeft(t, command.Dir)
		})
	}
}

// Who reads one line and goes, as head does, ends the program; that is no failure, and leaves nothing.
func TestReaderGoes(t *testing.T) {
	t.Parallel()
	for name, arguments := range map[string][]string{
		"watch": {"watch", "--json", pictures(t, 200)},
		"up":    {"up", "--source", pictures(t, 200), "--scenes", "-"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			command, said, temporary := apart(t, arguments...)
			out, err := command.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := command.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReaderSize(out, 16).ReadString('\n')
			if err != nil || !strings.HasPrefix(line, `{"frame":{"source":"`) {
				t.Errorf("%q, %v, %s", line, err, said)
			}
			if err := errors.Join(out.Close(), command.Wait()); err != nil {
				t.Errorf("%v: %s", err, said)
			}
			if text := strings.ToLower(said.String()); strings.Contains(text, "pipe") || strings.Contains(text, "level=error") {
				t.Error(text)
			}
			wantNothingLeft(t, temporary)
		})
	}
}

// Whatever ends the program, no temporary folder stays: of one that is killed, the next removes it.
func TestNothingTemporaryStays(t *testing.T) {
	t.Parallel()
	hangups := make(chan os.Signal, 1) // who is waited for by nohup hands on that SIGHUP is ignored, unless it takes it
	ossignal.Notify(hangups, syscall.SIGHUP)
	t.Cleanup(func() { ossignal.Stop(hangups) })
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGKILL} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			command, said, temporary := apart(t, "up", "--source", pictures(t, 3), "--scenes", "-")
			out, err := command.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := command.Start(); err != nil {
				t.Fatal(err)
			}
			reader := bufio.NewReader(out)
			if _, err := reader.ReadString('\n'); err != nil {
				t.Fatal(err, said)
			}
			if err := command.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			_, _ = reader.WriteTo(new(bytes.Buffer))
			err = command.Wait()
			if signal != syscall.SIGKILL && err != nil {
				t.Errorf("%v: %s", err, said)
			}
			if signal == syscall.SIGKILL {
				left, err := os.ReadDir(temporary)
				if err != nil || len(left) == 0 {
					t.Fatalf("nothing was left: %v, %v", left, err)
				}
				next, said, _ := apart(t, "up", "--source", pictures(t, 1), "--exit-when-done")
				next.Env = append(next.Env, "TMPDIR="+temporary)
				if err := next.Run(); err != nil {
					t.Fatal(err, said)
				}
			}
			wantNothingLeft(t, temporary)
		})
	}
}

// A flag that names a file never makes one that is called -.
func TestStandardOutputIsRefused(t *testing.T) {
	t.Parallel()
	picture := filepath.Join(pictures(t, 1), "00000.jpg")
	var watch Watch
	if err := service.Defaults(&watch); err != nil {
		t.Fatal(err)
	}
	watch.Out = "-"
	for name, err := range map[string]error{
		"watch": watch.Validate(), "predict": (&Predict{Pictures: []string{picture, picture}, Out: "-"}).Validate(),
		"street": (&StreetExport{Frames: 1, Out: "-", Size: "64x64"}).RunExport(t.Context(), new(bytes.Buffer)),
	} {
		if !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "--out -") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
