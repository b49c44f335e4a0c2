package reference_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow/reference"
)

// child, in the environment, lets these tests run, which are others' in another process.
const child = "SPATIALFLOW_TEST_REFERENCE"

func TestChildWhole(t *testing.T) {
	if os.Getenv(child) == "" {
		return // TestWithoutReferenceData runs it
	}
	reference.Path(t, "vectors")
}

func TestChildPart(t *testing.T) {
	if os.Getenv(child) == "" {
		return
	}
	if _, there := reference.Part(t, "vectors"); there {
		t.Error("it is there")
	}
}

// Without reference data a test fails, or is skipped where that is wanted, and its name is known: it never passes as if it had
// compared something.
func TestWithoutReferenceData(t *testing.T) {
	t.Parallel()
	names := filepath.Join(t.TempDir(), "names")
	run := func(noShared string) (printed string, passed bool) {
		t.Helper()
		command := exec.Command(os.Args[0], "-test.v", "-test.run", "^TestChild")
		command.Env = append(os.Environ(), child+"=1", "SPATIALFLOW_SHARED="+filepath.Join(t.TempDir(), "none"), "SPATIALFLOW_NO_SHARED="+noShared)
		output, err := command.CombinedOutput()
		return string(output), err == nil
	}
	if printed, passed := run(""); passed || !strings.Contains(printed, "--- FAIL: TestChildWhole") || !strings.Contains(printed, "--- FAIL: TestChildPart") ||
		!strings.Contains(printed, "SPATIALFLOW_NO_SHARED=1") {
		t.Errorf("without them:\n%s", printed)
	}
	for _, noShared := range []string{"1", names} {
		if printed, passed := run(noShared); !passed || !strings.Contains(printed, "--- SKIP: TestChildWhole") || !strings.Contains(printed, "--- PASS: TestChildPart") {
			t.Errorf("without them, which is said to be right:\n%s", printed)
		}
	}
	noted, err := os.ReadFile(names)
	if err != nil || string(noted) != "reference.test TestChildWhole\nreference.test TestChildPart (in part)\n" {
		t.Errorf("noted %q, %v", noted, err)
	}
}
