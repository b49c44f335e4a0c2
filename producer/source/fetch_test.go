package source

import (
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// While a film is fetched that is told, and when it is here nothing is.
func TestFetching(t *testing.T) {
	t.Parallel()
	film, err := os.ReadFile(filmOf(t, 3))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(film) }))
	t.Cleanup(server.Close)
	var told []string
	if _, _, err := openURI(t, server.URL, Options{Fetching: func(note string) { told = append(told, note) }}); err != nil {
		t.Fatal(err)
	}
	if len(told) != 2 || !strings.Contains(told[0], "fetching") || told[1] != "" {
		t.Errorf("told: %q", told)
	}
}

// A film that can't be written here is not fetched again and again, as one from a camera that is lost would be.
func TestFetchNowhere(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "video/mp4")
		_, _ = w.Write([]byte("\x00\x00\x00\x18ftypmp42"))
	}))
	t.Cleanup(server.Close)
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "none"))
	if _, _, err := openURI(t, server.URL, Options{}); !errors.Is(err, ErrFilm) || !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
