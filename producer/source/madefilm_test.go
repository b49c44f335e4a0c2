package source

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// filmOf is a film of so many pictures at 25 a second, whose index is at its end.
func filmOf(t *testing.T, pictures int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "film.mp4")
	out, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=64x48:rate=25",
		"-frames:v", strconv.Itoa(pictures), "-c:v", "libx264", "-pix_fmt", "yuv420p", path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}
