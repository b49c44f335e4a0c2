package engine_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The places of ONNX Runtime's functions are those of the header that the wrapper is built with.
func TestSlots(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("capi.c")
	if err != nil {
		t.Fatal(err)
	}
	slots := regexp.MustCompile(`SLOT_(\w+) = (\d+)`).FindAllSubmatch(source, -1)
	if len(slots) < 6 {
		t.Fatalf("%d slots in capi.c", len(slots))
	}
	folder, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/yalue/onnxruntime_go").Output()
	if err != nil {
		t.Fatal(err)
	}
	program := "#include <stddef.h>\n#include \"onnxruntime_c_api.h\"\n"
	for _, slot := range slots {
		program += "_Static_assert(offsetof(OrtApi, " + string(slot[1]) + ") == " + string(slot[2]) + " * sizeof(void *), \"" + string(slot[1]) + "\");\n"
	}
	check := exec.Command("cc", "-fsyntax-only", "-x", "c", "-I", strings.TrimSpace(string(folder)), "-")
	check.Stdin = strings.NewReader(program)
	if said, err := check.CombinedOutput(); err != nil {
		t.Errorf("%s (%v)", said, err)
	}
}

// What runs where is told by the library, not by what was asked for.
func TestPlacement(t *testing.T) {
	t.Parallel()
	session := open(t, depthModel)
	if session.Nodes["cpu"] != 1 || len(session.Nodes) != 1 || session.Placement() != "1 nodes cpu" || session.Provider != "cpu" {
		t.Errorf("%v, %q, %s; want the one node on the CPU", session.Nodes, session.Placement(), session.Provider)
	}
	if nodes := open(t, detectModel).Nodes["cpu"]; nodes < 4 {
		t.Errorf("%d nodes, want those of the graph", nodes)
	}
}

// ONNX Runtime writes nothing past the log.
func TestItsLogIsOurs(t *testing.T) {
	t.Parallel()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childLog+"=1")
	printed, err := child.CombinedOutput()
	if err != nil {
		t.Fatalf("%s (%v)", printed, err)
	}
	lines := bytes.Split(bytes.TrimSpace(printed), []byte("\n"))
	for _, line := range lines {
		var entry struct{ Level, Msg, Says, At string }
		if err := json.Unmarshal(line, &entry); err != nil {
			t.Fatalf("%q is no JSON: %v", line, err)
		}
		if entry.Level != "WARN" || entry.Msg != "ONNX Runtime" || entry.Says == "" || entry.At == "" {
			t.Errorf("%s", line)
		}
	}
	if len(lines) == 0 || len(lines) >= childRuns {
		t.Errorf("%d lines of %d runs that failed, want some and not all", len(lines), childRuns)
	}
}

// handlers is a library that does to signals what CUDA does.
const handlers = `
#include <signal.h>
static void handle(int s) {}
__attribute__((constructor)) static void load(void) {
	struct sigaction a = {0};
	a.sa_handler = handle;
	int all[] = {SIGINT, SIGTERM, SIGHUP, SIGSEGV, SIGUSR1};
	for (int i = 0; i < 5; i++) sigaction(all[i], &a, 0);
}`

// A library that replaces Go's signal handlers does not end the program at the next signal, nor takes the signal from it.
func TestSignalsStayOurs(t *testing.T) {
	t.Parallel()
	library := filepath.Join(t.TempDir(), "libonnxruntime.so")
	compile := exec.Command("cc", "-shared", "-fPIC", "-x", "c", "-o", library, "-")
	compile.Stdin = strings.NewReader(handlers)
	if said, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("%s (%v)", said, err)
	}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childSignals+"="+library)
	printed, err := child.CombinedOutput()
	if err != nil || string(bytes.TrimSpace(printed)) != "terminated" {
		t.Errorf("%s (%v), want the signal to arrive", printed, err)
	}
}
