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

// FindLibrary is the path of libonnxruntime: explicit, or else the first that exists of the user's cache folder and
// the system's places. [ErrLibrary] is returned, naming all of them, when there is none.
func FindLibrary(explicit string) (string, error) {
	if explicit != "" {
		if _, err := os.Stat(explicit); err != nil {
			return "", fmt.Errorf("%w: --onnxruntime: %w", ErrLibrary, err)
		}
		return explicit, nil
	}
	var places []string
	if cache, err := os.UserCacheDir(); err == nil {
		places = append(places, filepath.Join(cache, "spatial-flow", "libonnxruntime.so."+Version))
	}
	for _, folder := range []string{"/usr/local/lib", "/usr/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/opt/onnxruntime/lib", "/opt/homebrew/lib"} {
		places = append(places, filepath.Join(folder, "libonnxruntime.so"), filepath.Join(folder, "libonnxruntime.dylib"))
	}
	for _, place := range places {
		if _, err := os.Stat(place); err == nil {
			return place, nil
		}
	}
	return "", fmt.Errorf("%w not found: run `make install`, or give its path with --onnxruntime or SPATIALFLOW_ONNXRUNTIME; looked at %s", ErrLibrary, strings.Join(places, ", "))
}

// load loads the library, once; another path than the first one's is refused.
func load(path string) error {
	environment.Lock()
	defer environment.Unlock()
	if environment.path == path {
		return nil
	}
	if environment.path != "" {
		return fmt.Errorf("%w: %s is loaded already, %s can't be loaded beside it", ErrLibrary, environment.path, path)
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
