package standalone

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// fixtures is a folder for what several tests use and none changes; it goes with the last of them.
var fixtures string

// withFixtures runs the tests with the folder there, and gives what removes it.
func withFixtures() (remove func(exitCode int)) {
	var err error
	if fixtures, err = os.MkdirTemp("", "spatialflow-fixtures-"); err != nil {
		panic(err)
	}
	return func(exitCode int) {
		os.RemoveAll(fixtures)
		os.Exit(exitCode)
	}
}

// natsServer is a folder with the program nats-server, of the version that go.mod names.
var natsServer = sync.OnceValues(func() (folder string, err error) {
	folder = filepath.Join(fixtures, "server")
	return folder, output(exec.Command("go", "build", "-o", filepath.Join(folder, "nats-server"), "github.com/nats-io/nats-server/v2"))
})

// natsProgram is a folder with NATS's own program, nats. A tool line in go.mod would change what the embedded server is built of.
var natsProgram = sync.OnceValues(func() (folder string, err error) {
	folder = filepath.Join(fixtures, "natscli")
	return folder, output(exec.Command(filepath.Join("..", "build", "tool.sh"), "-into", folder, "nats"))
})

// pythonPackages is a folder with what the Python examples need.
var pythonPackages = sync.OnceValues(func() (folder string, err error) {
	folder = filepath.Join(fixtures, "python")
	return folder, output(exec.Command("python3", "-m", "pip", "install", "-q", "--disable-pip-version-check", "--root-user-action=ignore",
		"--target", folder, "-r", filepath.Join("..", "examples", "python", "requirements.txt")))
})

// output runs a command, and tells what it said when it fails.
func output(command *exec.Cmd) error {
	if said, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", command.Args, err, said)
	}
	return nil
}

// fixture is what a test needs of these.
func fixture(t testing.TB, made func() (string, error)) string {
	t.Helper()
	path, err := made()
	if err != nil {
		t.Fatal(err)
	}
	return path
}
