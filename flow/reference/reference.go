// Package reference finds what tests compare with and is not part of the project: the answers of the models' own authors, real
// photographs and films. It lies beside the project, in shared, or where SPATIALFLOW_SHARED says.
package reference

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Path is the path of a file or folder of it. Where that is absent the test fails, since it would compare nothing. With
// SPATIALFLOW_NO_SHARED set it is skipped instead; where that is a path, the test's name is written to the end of that file,
// which `make test` shows.
func Path(t testing.TB, elements ...string) string {
	t.Helper()
	path, there := find(t, elements)
	if !there {
		note(t, "")
		t.Skipf("no %s: it compares with nothing", path)
	}
	return path
}

// Part is [Path] for a test that has something else to compare with too: it goes on without, which is noted all the same.
func Part(t testing.TB, elements ...string) (path string, there bool) {
	t.Helper()
	path, there = find(t, elements)
	if !there {
		note(t, " (in part)")
	}
	return path, there
}

// find fails the test where the path is absent, and may not be.
func find(t testing.TB, elements []string) (path string, there bool) {
	t.Helper()
	path = filepath.Join(append([]string{root(t)}, elements...)...)
	_, err := os.Stat(path)
	if err != nil && os.Getenv("SPATIALFLOW_NO_SHARED") == "" {
		t.Fatalf("no reference data, without which this compares nothing: %v; say where they are with SPATIALFLOW_SHARED, or set SPATIALFLOW_NO_SHARED=1 to skip, by name, what needs them", err)
	}
	return path, err == nil
}

func note(t testing.TB, how string) {
	names := os.Getenv("SPATIALFLOW_NO_SHARED")
	if !strings.Contains(names, string(filepath.Separator)) {
		return
	}
	file, err := os.OpenFile(names, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(filepath.Base(os.Args[0]) + " " + t.Name() + how + "\n"); err != nil {
		t.Fatal(err)
	}
}

// root is the folder beside the project, which is where go.work is.
func root(t testing.TB) string {
	t.Helper()
	if given := os.Getenv("SPATIALFLOW_SHARED"); given != "" {
		return given
	}
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; filepath.Dir(folder) != folder; folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, "go.work")); err == nil {
			return filepath.Join(filepath.Dir(folder), "shared")
		}
	}
	return "shared"
}
