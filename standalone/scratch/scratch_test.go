package scratch

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Folders of programs that live, and those of others, are not touched.
func TestSweep(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	for _, name := range []string{"spatialflow-left", "spatialflow-lives", "spatialflow-other", "else"} {
		if err := os.MkdirAll(filepath.Join(parent, name, "jetstream"), 0o700); err != nil {
			t.Fatal(err)
		}
		if name != "spatialflow-other" {
			if err := os.WriteFile(filepath.Join(parent, name, lockName), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	lock, err := lockFolder(filepath.Join(parent, "spatialflow-lives"), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	sweep(parent)
	var left []string
	entries, err := os.ReadDir(parent)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		left = append(left, entry.Name())
	}
	if !slices.Equal(left, []string{"else", "spatialflow-lives", "spatialflow-other"}) {
		t.Error(left)
	}
}
