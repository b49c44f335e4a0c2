package engine

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestProviderSettings(t *testing.T) {
	t.Parallel()
	// What is not asked for answers as the CPU does, as nearly as the hardware can.
	if got, want := cudaSettings(Options{}), map[string]string{
		"device_id": "0", "cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested", "use_tf32": "0",
	}; !reflect.DeepEqual(got, want) {
		t.Errorf("cuda: %v, want %v", got, want)
	}
	asked := cudaSettings(Options{Device: 1, TF32: true, Memory: 2 << 30})
	if asked["device_id"] != "1" || asked["use_tf32"] != "1" || asked["gpu_mem_limit"] != "2147483648" {
		t.Errorf("cuda: %v", asked)
	}
	plain, half := tensorRTSettings(Options{}, "/cache"), tensorRTSettings(Options{FP16: true, Device: 2}, "/cache")
	if plain["trt_fp16_enable"] != "0" || plain["trt_engine_cache_path"] != "/cache" || plain["device_id"] != "0" {
		t.Errorf("tensorrt: %v", plain)
	}
	if half["trt_fp16_enable"] != "1" || half["device_id"] != "2" {
		t.Errorf("tensorrt: %v", half)
	}
}

// ONNX Runtime makes no folder above the last one, so that a cache on a new volume or under a new home failed.
func TestCacheFolderIsMade(t *testing.T) {
	root := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", filepath.Join(root, "home", "cache"))
	t.Setenv("HOME", filepath.Join(root, "home"))
	user, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	for given, want := range map[string]string{
		"": filepath.Join(user, "spatial-flow", "tensorrt"), filepath.Join(root, "a", "b"): filepath.Join(root, "a", "b"),
	} {
		got, err := cacheFolder(Options{Cache: given})
		if info, statErr := os.Stat(want); err != nil || got != want || statErr != nil || !info.IsDir() {
			t.Errorf("%q: %q, %v; %s: %v", given, got, err, want, statErr)
		}
	}
	file := filepath.Join(root, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := cacheFolder(Options{Cache: filepath.Join(file, "cache")}); err == nil || !strings.Contains(err.Error(), "--trt-cache") {
		t.Errorf("a folder that can't be: %v, want an error that says --trt-cache", err)
	}
}

func TestProviderHint(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{
		"Failed to load library libonnxruntime_providers_cuda.so with error: libcuda.so.1: cannot open shared object file": "--gpus all",
		"CUDA failure 100: no CUDA-capable device is detected ; GPU=-1":                                                    "--gpus all",
		"CUDA execution provider is not enabled in this build":                                                             "may lack it",
	} {
		if hint := providerHint(errors.New(said)); !strings.Contains(hint, want) {
			t.Errorf("%s: %s", said, hint)
		}
	}
}

func TestCause(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		is   error
		says string
		want Fault
	}{
		{ErrRun, "CUDA failure 700: an illegal memory access was encountered ; GPU=0", FaultDevice},
		{ErrRun, "CUDNN failure 4: CUDNN_STATUS_INTERNAL_ERROR", FaultDevice},
		{ErrRun, "Failed to allocate memory for requested buffer of size 1073741824", FaultDevice},
		{ErrRun, "Non-zero status code returned while running Reshape node", FaultModel},
		{ErrModel, "This is an invalid model", FaultModel},
		{ErrProvider, "unknown, want cpu, cuda or tensorrt", FaultProvider},
		{ErrProvider, "CUDA failure 100: no CUDA-capable device is detected ; GPU=-1", FaultDevice},
		{ErrLibrary, "not found", FaultLibrary},
		{errors.New("something else"), "", FaultNone},
	} {
		if got := Cause(errors.Join(test.is, errors.New(test.says))); got != test.want {
			t.Errorf("%v, %s: %q, want %q", test.is, test.says, got, test.want)
		}
	}
	if got := Cause(nil); got != FaultNone {
		t.Errorf("no error: %q", got)
	}
}

// For the CPU the version that is tested comes first, for a GPU a library that has what it takes.
func TestFindLibraryForAProvider(t *testing.T) {
	root := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", filepath.Join(root, "cache"))
	t.Setenv("HOME", root)
	user, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	before := systemFolders
	defer func() { systemFolders = before }()
	plain, gpu := filepath.Join(root, "plain"), filepath.Join(root, "gpu")
	systemFolders = []string{plain, gpu}
	touch := func(path string) string {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	expect := func(when, provider, want string) {
		t.Helper()
		if got, err := FindLibrary("", provider); err != nil || got != want {
			t.Errorf("%s, %s: %q, %v; want %s", when, provider, got, err, want)
		}
	}
	cached := touch(filepath.Join(user, "spatial-flow", "libonnxruntime.so."+Version))
	expect("that of make install alone", CPU, cached)
	expect("that of make install alone", CUDA, cached)
	ofSystem := touch(filepath.Join(plain, "libonnxruntime.so"))
	expect("a system's for CPUs", CPU, cached)
	expect("a system's for CPUs", CUDA, ofSystem)
	withCUDA := touch(filepath.Join(gpu, "libonnxruntime.so"))
	touch(filepath.Join(gpu, "libonnxruntime_providers_cuda.so"))
	expect("a system's for GPUs", CPU, cached)
	expect("a system's for GPUs", CUDA, withCUDA)
	expect("a system's for GPUs without TensorRT", TensorRT, ofSystem)
	touch(filepath.Join(filepath.Dir(cached), "libonnxruntime_providers_tensorrt.so"))
	expect("a cache folder with TensorRT", TensorRT, cached)
}

// With what it has itself, a pool and its callers are as many as the CPUs: half of a machine of 16 stood still with two.
func TestThreads(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ cpus, runs, want int }{{16, 2, 15}, {64, 2, 63}, {2, 2, 1}, {2, 1, 2}, {2, 0, 2}, {1, 1, 1}, {4, 16, 1}} {
		got := threads(test.cpus, test.runs)
		if got != test.want {
			t.Errorf("%d CPUs, %d runs: %d, want %d", test.cpus, test.runs, got, test.want)
		}
		if busy := got - 1 + max(1, test.runs); busy < test.cpus {
			t.Errorf("%d CPUs, %d runs: %d busy", test.cpus, test.runs, busy)
		}
	}
}
