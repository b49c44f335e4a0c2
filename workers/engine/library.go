// Package engine runs ONNX files with ONNX Runtime.
package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	ort "github.com/yalue/onnxruntime_go"
)

var (
	// ErrLibrary is returned when libonnxruntime is not found or can't be loaded.
	ErrLibrary = errors.New("ONNX Runtime library")
	// ErrModel is returned when a file is no ONNX model that can be run.
	ErrModel = errors.New("ONNX model")
	// ErrProvider is returned when an execution provider is not in the library, or its hardware is absent.
	ErrProvider = errors.New("execution provider")
)

// Version is the ONNX Runtime that `make install` puts into the cache folder.
const Version = "1.32.0"

// environment guards ONNX Runtime's own global state: it is loaded once per process.
var environment struct {
	sync.Mutex
	path string
}

// FindLibrary is the path of libonnxruntime: explicit, or else, for the CPU, the first that exists of the user's cache folder,
// where `make install` puts the version that is tested, and the system's places. For another provider it is the first that has
// that provider's own library beside it, the system's places first: what `make install` gets is for CPUs. [ErrLibrary] is
// returned, naming all of them, when there is none.
func FindLibrary(explicit, provider string) (string, error) {
	if explicit != "" {
		if _, err := os.Stat(explicit); err != nil {
			return "", fmt.Errorf("%w: --onnxruntime: %w", ErrLibrary, err)
		}
		return explicit, nil
	}
	var cached, system []string
	if cache, err := os.UserCacheDir(); err == nil {
		cached = append(cached, filepath.Join(cache, "spatial-flow", "libonnxruntime.so."+Version))
	}
	for _, folder := range systemFolders {
		system = append(system, filepath.Join(folder, "libonnxruntime.so"), filepath.Join(folder, "libonnxruntime.dylib"))
	}
	places := append(cached, system...)
	if provider == CUDA || provider == TensorRT {
		places = append(system, cached...)
	}
	var other string // the first that is for CPUs only
	for _, place := range places {
		if _, err := os.Stat(place); err != nil {
			continue
		}
		if has(place, provider) {
			return place, nil
		}
		if other == "" {
			other = place
		}
	}
	if other != "" { // it may have the provider inside, and says so otherwise
		return other, nil
	}
	return "", fmt.Errorf("%w not found: run `make install`, or give its path with --onnxruntime or SPATIALFLOW_ONNXRUNTIME; looked at %s", ErrLibrary, strings.Join(places, ", "))
}

// systemFolders are where libraries are installed.
var systemFolders = []string{"/usr/local/lib", "/usr/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/opt/onnxruntime/lib", "/opt/homebrew/lib"}

// has says whether a libonnxruntime has what a provider needs beside it.
func has(library, provider string) bool {
	if provider != CUDA && provider != TensorRT {
		return true
	}
	_, err := os.Stat(filepath.Join(filepath.Dir(library), "libonnxruntime_providers_"+provider+".so"))
	return err == nil
}

// load loads the library, once. Another path than the first one's is refused; who gives none takes the one that is loaded.
func load(o Options) error {
	environment.Lock()
	defer environment.Unlock()
	if environment.path != "" && (o.Library == "" || o.Library == environment.path) {
		return nil
	}
	path, err := FindLibrary(o.Library, o.Provider)
	if err != nil {
		return err
	}
	if environment.path != "" {
		return fmt.Errorf("%w: %s is loaded already, %s can't be loaded beside it", ErrLibrary, environment.path, path)
	}
	saveSignals()
	defer restoreSignals()
	if err := prepareEnvironment(path); err != nil {
		return fmt.Errorf("%w: load %s: %w", ErrLibrary, path, err)
	}
	ort.SetSharedLibraryPath(path)
	if err := ort.InitializeEnvironment(ort.WithLogLevelError()); err != nil {
		return fmt.Errorf("%w: load %s: %w", ErrLibrary, path, err)
	}
	if err := ort.DisableTelemetry(); err != nil {
		return fmt.Errorf("%w: switch telemetry off: %w", ErrLibrary, err)
	}
	environment.path = path
	return nil
}
