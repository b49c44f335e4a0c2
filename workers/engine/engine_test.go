package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/spatial-flow/spatial-flow/workers/engine"
	"github.com/spatial-flow/spatial-flow/workers/models"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(childLibrary) != "":
		_, err := engine.Open(depthModel, engine.Options{Library: os.Getenv(childLibrary), Provider: "cpu", Threads: 1})
		fmt.Println(errors.Is(err, engine.ErrLibrary), err)
	case os.Getenv(childLog) != "":
		failOften()
	case os.Getenv(childSignals) != "":
		beTerminated(os.Getenv(childSignals))
	default:
		goleak.VerifyTestMain(m)
	}
	os.Exit(0)
}

// These, in the environment, make this program another one that ends: ONNX Runtime is loaded once per process.
const (
	childLibrary = "SPATIALFLOW_TEST_LIBRARY" // opens a model with that library, and says what came of it
	childLog     = "SPATIALFLOW_TEST_LOG"     // fails at childRuns runs, and logs as JSON
	childSignals = "SPATIALFLOW_TEST_SIGNALS" // loads that library, and says when it is terminated
)

const childRuns = 50

func failOften() {
	session, err := engine.Open(reshapes(14), engine.Options{Provider: "cpu", Threads: 1, Log: slog.New(slog.NewJSONHandler(os.Stdout, nil))})
	if err != nil {
		panic(err)
	}
	tensors, err := session.Tensors([4]int{1, 3, 64, 64})
	if err != nil {
		panic(err)
	}
	for range childRuns {
		if _, _, err := session.Run(context.Background(), tensors); !errors.Is(err, engine.ErrRun) {
			panic(err)
		}
	}
}

func beTerminated(library string) {
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	if _, err := engine.Open(depthModel, engine.Options{Library: library, Provider: "cpu"}); !errors.Is(err, engine.ErrLibrary) {
		panic(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		panic(err)
	}
	select {
	case <-terminated:
		fmt.Println("terminated")
	case <-time.After(20 * time.Second):
		fmt.Println("the signal does not arrive")
	}
}

var (
	cpu         = engine.Options{Provider: "cpu", Threads: 1}
	depthModel  = engine.File{Name: "nocost_depth.onnx", Data: models.NoCostDepth}
	detectModel = engine.File{Name: "nocost_detect.onnx", Data: models.NoCostDetect}
)

func open(t *testing.T, file engine.File) *engine.Session {
	t.Helper()
	session, err := engine.Open(file, cpu)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := session.Close(); err != nil {
			t.Error(err)
		}
	})
	return session
}

func writeFile(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// expect fails unless err is what it should be and says all of it.
func expect(t *testing.T, err, is error, says ...string) {
	t.Helper()
	if !errors.Is(err, is) {
		t.Fatalf("%v, want %q", err, is)
	}
	for _, text := range says {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not say %q", err, text)
		}
	}
}

func TestFindLibrary(t *testing.T) {
	given := writeFile(t, "libonnxruntime.so", nil)
	if got, err := engine.FindLibrary(given, engine.CPU); err != nil || got != given {
		t.Errorf("a path that is given: %q, %v; want %s", got, err, given)
	}
	missing := filepath.Join(t.TempDir(), "libnone.so")
	_, err := engine.FindLibrary(missing, engine.CPU)
	expect(t, err, engine.ErrLibrary, "--onnxruntime", missing)

	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("HOME", cache)
	if elsewhere, err := engine.FindLibrary("", engine.CPU); err == nil { // one of the system is taken, but only of the system
		if strings.HasPrefix(elsewhere, cache) {
			t.Errorf("%s is found in an empty cache folder", elsewhere)
		}
	} else {
		expect(t, err, engine.ErrLibrary, "make install", "--onnxruntime", "SPATIALFLOW_ONNXRUNTIME", cache, "libonnxruntime.so."+engine.Version, "/usr/local/lib")
	}
	user, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	want := filepath.Join(user, "spatial-flow", "libonnxruntime.so."+engine.Version)
	if err := os.MkdirAll(filepath.Dir(want), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(want, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := engine.FindLibrary("", engine.CPU); err != nil || got != want {
		t.Errorf("%q, %v; want the cache folder's before the system's: %s", got, err, want)
	}
}

func TestOpenSaysThatTheLibraryIsNone(t *testing.T) {
	t.Parallel()
	path := writeFile(t, "libonnxruntime.so", []byte("no library"))
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), childLibrary+"="+path)
	printed, err := command.CombinedOutput()
	if err != nil || !bytes.HasPrefix(printed, []byte("true ")) || !bytes.Contains(printed, []byte("load "+path)) {
		t.Errorf("%s (%v), want ErrLibrary that names %s", printed, err, path)
	}
}

func TestSecondLibraryIsRefused(t *testing.T) {
	t.Parallel()
	open(t, depthModel)
	other := writeFile(t, "other.so", nil)
	_, err := engine.Open(depthModel, engine.Options{Library: other, Provider: "cpu", Threads: 1})
	expect(t, err, engine.ErrLibrary, "loaded already", other)
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "none.onnx")
	for name, test := range map[string]struct {
		file engine.File
		says []string
	}{
		"a file that is missing": {engine.File{Path: missing}, []string{"none.onnx", missing, "no such file"}},
		"a folder":               {engine.File{Path: t.TempDir()}, []string{"directory"}},
		"text":                   {engine.File{Path: writeFile(t, "text.onnx", []byte("version https://git-lfs.github.com/spec/v1\n"))}, []string{"text.onnx", "git lfs pull"}},
		"a web page":             {engine.File{Path: writeFile(t, "page.onnx", []byte("\n<!DOCTYPE html><title>Sign in</title>"))}, []string{"page.onnx", "web page"}},
		"weights of PyTorch":     {engine.File{Path: writeFile(t, "best.onnx", []byte("PK\x03\x04best/data.pkl"))}, []string{"best.onnx", "export it as ONNX"}},
		"an empty file":          {engine.File{Path: writeFile(t, "empty.onnx", nil)}, []string{"empty.onnx"}},
		"half a file":            {engine.File{Path: writeFile(t, "half.onnx", models.NoCostDetect[:len(models.NoCostDetect)/2])}, []string{"half.onnx", "cut short"}},
		"half of the bytes":      {engine.File{Name: "half", Data: models.NoCostDetect[:len(models.NoCostDetect)/2]}, []string{"half", "cut short"}},
		"no bytes":               {engine.File{Name: "nothing", Data: []byte{}}, []string{"nothing"}},
	} {
		t.Run(name, func(t *testing.T) {
			session, err := engine.Open(test.file, cpu)
			if err == nil {
				session.Close()
			}
			expect(t, err, engine.ErrModel, test.says...)
		})
	}
}

// The library of `make install` is for CPUs: what it can't do is an error with a way out, and no crash.
func TestOpenSaysThatAProviderIsAbsent(t *testing.T) {
	t.Parallel()
	for _, provider := range []string{"cuda", "tensorrt", "abacus"} {
		session, err := engine.Open(depthModel, engine.Options{Provider: provider, Threads: 1})
		if err == nil {
			session.Close() // a library and a machine that have it
			if provider == "abacus" {
				t.Error("a provider that does not exist is taken")
			}
			fmt.Fprintf(os.Stderr, "!!! %s: %s is present here, so its absence is not tested\n", t.Name(), provider)
			continue
		}
		expect(t, err, engine.ErrProvider, provider, "--provider cpu")
	}
}

func TestOpenDescribesTheModel(t *testing.T) {
	t.Parallel()
	path := writeFile(t, "renamed.onnx", models.NoCostDetect)
	for name, session := range map[string]*engine.Session{"nocost_detect.onnx": open(t, detectModel), "renamed.onnx": open(t, engine.File{Path: path})} {
		got := fmt.Sprintf("%s %s %v %v %s", session.Name, session.Provider, session.Inputs, session.Outputs, session.Metadata["task"])
		if want := name + " cpu [{images true [1 3 640 640]}] [{output0 true [1 84 8400]}] detect"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if free := open(t, depthModel).Inputs[0].Shape; fmt.Sprint(free) != "[1 3 -1 -1]" {
		t.Errorf("free dimensions: %v, want [1 3 -1 -1]", free)
	}
}

// depth runs the model of no cost, whose output is the mean of the channels, over a picture of one value.
func depth(s *engine.Session, t *engine.Tensors, value float32, width, height int) error {
	input := t.Input()
	for i := range input {
		input[i] = value
	}
	output, shape, err := s.Run(context.Background(), t)
	if err != nil {
		return err
	}
	if len(shape) != 3 || shape[1] != int64(height) || shape[2] != int64(width) || len(output) != width*height {
		return fmt.Errorf("output is %v with %d values, want [1 %d %d]", shape, len(output), height, width)
	}
	for i, got := range output {
		if math.Abs(float64(got-value)) > 1e-4 {
			return fmt.Errorf("%dx%d: value %d is %v, want %v", width, height, i, got, value)
		}
	}
	return nil
}

// Runs of one session do not disturb each other, whatever sizes they come from and go to.
func TestRunsSideBySide(t *testing.T) {
	t.Parallel()
	session := open(t, depthModel)
	const runners, runs = 8, 40
	errs := make(chan error, runners)
	var group sync.WaitGroup
	for n := range runners {
		group.Go(func() {
			for i := range runs {
				size := 14 * (1 + (n+i/4)%5) // the same a few times, then another
				tensors, err := session.Tensors([4]int{1, 3, size, 2 * size})
				if err == nil {
					err = depth(session, tensors, float32(100*n+i), 2*size, size)
					tensors.Release()
				}
				if err != nil {
					errs <- fmt.Errorf("runner %d, run %d: %w", n, i, err)
					break
				}
			}
		})
	}
	group.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
}

// Each shape has its memory, which is kept from run to run however shapes follow each other.
func TestTensorsAreKeptByShape(t *testing.T) {
	t.Parallel()
	session := open(t, depthModel)
	run := func(width int) [2]*float32 {
		t.Helper()
		tensors, err := session.Tensors([4]int{1, 3, 14, width})
		if err != nil {
			t.Fatal(err)
		}
		defer tensors.Release()
		if err := depth(session, tensors, 7, width, 14); err != nil {
			t.Fatal(err)
		}
		output, _, err := session.Run(t.Context(), tensors)
		if err != nil {
			t.Fatal(err)
		}
		return [2]*float32{&tensors.Input()[0], &output[0]}
	}
	wide, narrow := run(28), run(14)
	if wide == narrow {
		t.Error("two shapes share memory")
	}
	for range 3 {
		if run(28) != wide || run(14) != narrow {
			t.Error("the same shape gets new tensors")
		}
	}
}

func TestRunOfAShapeThatTheModelRefuses(t *testing.T) {
	t.Parallel()
	session := open(t, detectModel)
	small, err := session.Tensors([4]int{1, 3, 64, 64})
	if err != nil {
		t.Fatal(err)
	}
	defer small.Release()
	_, _, err = session.Run(t.Context(), small)
	expect(t, err, engine.ErrRun, "nocost_detect.onnx")
	if cause := engine.Cause(err); cause != engine.FaultModel {
		t.Errorf("%v is about %q, want the model", err, cause)
	}
	right, err := session.Tensors([4]int{1, 3, 640, 640})
	if err != nil {
		t.Fatal(err)
	}
	defer right.Release()
	if _, shape, err := session.Run(t.Context(), right); err != nil || fmt.Sprint(shape) != "[1 84 8400]" {
		t.Errorf("after that: %v, %v; want it to go on", shape, err)
	}
}

func TestRunAfterItsContextEnded(t *testing.T) {
	t.Parallel()
	session := open(t, depthModel)
	tensors, err := session.Tensors([4]int{1, 3, 14, 14})
	if err != nil {
		t.Fatal(err)
	}
	defer tensors.Release()
	ctx, cancel := context.WithCancelCause(t.Context())
	late := errors.New("too late")
	cancel(late)
	_, _, err = session.Run(ctx, tensors)
	expect(t, err, engine.ErrTerminated, "nocost_depth.onnx")
	expect(t, err, late)
	if err := depth(session, tensors, 3, 14, 14); err != nil {
		t.Errorf("after that: %v", err)
	}
}

// A run that takes too long is ended within it, and the same tensors run on.
func TestRunThatTakesTooLong(t *testing.T) {
	t.Parallel()
	const side = 1024
	session := open(t, sines(1000)) // some ten seconds
	tensors, err := session.Tensors([4]int{1, 3, side, side})
	if err != nil {
		t.Fatal(err)
	}
	defer tensors.Release()
	for i := range tensors.Input() {
		tensors.Input()[i] = float32(i)
	}
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, _, err := session.Run(ctx, tensors)
		cancel()
		expect(t, err, engine.ErrTerminated, "sines.onnx")
		expect(t, err, context.DeadlineExceeded)
	}
}

// The store keeps what was used last, and no more than it may.
func TestStoreIsBounded(t *testing.T) {
	t.Parallel()
	session := open(t, depthModel)
	address := func(side int) *float32 {
		t.Helper()
		tensors, err := session.Tensors([4]int{1, 3, side, side})
		if err != nil {
			t.Fatal(err)
		}
		defer tensors.Release()
		tensors.Input()[0] = float32(side) // what is kept is marked
		return &tensors.Input()[0]
	}
	marked := func(side int) bool {
		t.Helper()
		tensors, err := session.Tensors([4]int{1, 3, side, side})
		if err != nil {
			t.Fatal(err)
		}
		defer tensors.Release()
		return tensors.Input()[0] == float32(side)
	}
	address(14)
	for side := 2800; side < 2800+8*14; side += 14 { // 94 MB each
		address(side)
	}
	if marked(14) {
		t.Error("what was used first is kept beside 256 MiB of later ones")
	}
	if !marked(2800 + 7*14) {
		t.Error("what was used last is not kept")
	}
}
