package pipeline

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow"
)

// Only a scene that a killed process left unfinished is cut off: what else a file holds stays.
func TestContinueCutsOnlyScenes(t *testing.T) {
	t.Parallel()
	const scene = `{"frame":{"source":"cam1","session":"monday","seq":1},"captured":"2026-11-23T20:44:19Z"}` + "\n"
	for name, test := range map[string]struct {
		holds string
		left  string
		err   error
	}{
		"empty":                {"", "", nil},
		"whole":                {scene, scene, nil},
		"torn":                 {scene + scene[:40], scene, nil},
		"torn at its begin":    {scene + scene[:1], scene, nil},
		"torn first line":      {scene[:60], "", nil},
		"a line, no newline":   {`{"my":"notes"}`, `{"my":"notes"}`, ErrSceneFile},
		"a word after a scene": {scene + "notes", scene + "notes", ErrSceneFile},
	} {
		path := filepath.Join(t.TempDir(), "scenes.jsonl")
		if err := os.WriteFile(path, []byte(test.holds), 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := continueSceneFile(path)
		if !errors.Is(err, test.err) {
			t.Errorf("%s: error %v, want %v", name, err, test.err)
		}
		if err == nil {
			err = file.Close()
		}
		if left, _ := os.ReadFile(path); string(left) != test.left {
			t.Errorf("%s: %q is left, want %q (%v)", name, left, test.left, err)
		}
	}
}

// A file that is begun anew keeps what it holds until there is a scene to write.
func TestCreateKeepsWhatWasThere(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "scenes.jsonl")
	if err := os.WriteFile(path, []byte("yesterday's scenes, many of them, longer than a line of today's ever gets to be in this test"), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := createSceneFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if held, _ := os.ReadFile(path); len(held) < 50 {
		t.Fatalf("opened, it holds %q", held)
	}
	scene := &flow.Scene{Version: flow.Wire, Source: "cam1", Session: "s", Mode: flow.ModeLossless, Outcome: flow.OutcomeComplete}
	for scene.Seq = 1; scene.Seq <= 2; scene.Seq++ {
		if err := file.Take(scene); err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if held, _ := os.ReadFile(path); bytes.Count(held, []byte("\n")) != 2 || !bytes.HasPrefix(held, []byte(lineBegins)) {
		t.Errorf("want two scenes and nothing else, it holds %q", held)
	}
}
