package standalone

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/porttest"
	"github.com/spatial-flow/spatial-flow/flow/reference"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/standalone/drawing"
)

// newWatch is `spatialflow watch`, of a file with the models of no cost.
func newWatch(t *testing.T, file string) *Watch {
	t.Helper()
	w := new(Watch)
	if err := service.Defaults(w); err != nil {
		t.Fatal(err)
	}
	w.File, w.DepthSize = file, 56
	w.DetectModel, w.DepthModel = noCost(t)
	return w
}

// probed is how many pictures ffprobe reads.
func probed(t *testing.T, path string) string {
	t.Helper()
	output, err := exec.Command("ffprobe", "-v", "error", "-count_frames", "-select_streams", "v", "-show_entries", "stream=nb_read_frames,width,height", "-of", "csv=p=0", path).CombinedOutput()
	if err != nil {
		t.Fatalf("ffprobe: %v\n%s", err, output)
	}
	return strings.TrimSpace(string(output))
}

// A file that is run here is drawn whole, and printed as up --scenes writes it; a broken picture is in both.
func TestWatchFile(t *testing.T) {
	t.Parallel()
	folder := pictures(t, 40)
	if err := os.WriteFile(filepath.Join(folder, "00007.jpg"), []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWatch(t, folder)
	w.JSON, w.Out = true, filepath.Join(t.TempDir(), "out.mp4")
	var out, progress bytes.Buffer
	if err := w.RunWatch(t.Context(), &out, &progress, quiet); err != nil {
		t.Fatalf("%v\n%s", err, &progress)
	}
	if got := probed(t, w.Out); got != "1280,480,40" {
		t.Errorf("the video is %s, want 40 pictures of 1280x480", got)
	}
	if !strings.Contains(progress.String(), "40 scenes, 0 dropped; "+w.Out+": 40 pictures") {
		t.Errorf("the end says %s", &progress)
	}
	up := newUp(t, folder)
	up.Scenes = filepath.Join(t.TempDir(), "scenes.jsonl")
	if err := up.RunPipeline(t.Context(), io.Discard, io.Discard, quiet); err != nil {
		t.Fatal(err)
	}
	var got []api.Scene
	for reader := json.NewDecoder(&out); reader.More(); {
		var scene api.Scene
		if err := reader.Decode(&scene); err != nil {
			t.Fatal(err)
		}
		got = append(got, scene)
	}
	ignore := cmp.Options{cmpopts.IgnoreFields(api.Scene{}, "Captured", "Ledger"), cmpopts.IgnoreFields(api.Frame{}, "Session")}
	if diff := cmp.Diff(lines(t, up.Scenes), got, ignore); diff != "" {
		t.Errorf("--json differs from --scenes:\n%.2000s", diff)
	}
	if got[7].Outcome != flow.OutcomeError {
		t.Errorf("the broken picture's scene is %s", got[7].Outcome)
	}
}

// The reference film: every one of its frames is in the video.
func TestWatchPedestrians(t *testing.T) {
	t.Parallel()
	folder := reference.Path(t)
	w := newWatch(t, filepath.Join(folder, "data", "pedestrians.avi"))
	w.Out, w.Frames = filepath.Join(t.TempDir(), "out.mp4"), filmFrames
	if err := w.RunWatch(t.Context(), io.Discard, io.Discard, quiet); err != nil {
		t.Fatal(err)
	}
	if got, want := probed(t, w.Out), fmt.Sprintf("1536,576,%d", filmFrames); got != want {
		t.Errorf("the video is %s, want %s", got, want)
	}
}

// A gateway's live source keeps its time in the video; what was asked for ends it.
func TestWatchGateway(t *testing.T) {
	t.Parallel()
	base := running(t, func(u *Up) {
		u.Sources, u.Mode = []string{"cam=" + pictures(t, 30) + "#mode=live&fps=20&loop=true", "album=" + pictures(t, 3)}, ""
	})
	w := newWatch(t, "")
	w.Gateway, w.Source, w.Out, w.FPS, w.Duration = base, "cam", filepath.Join(t.TempDir(), "live.avi"), 10, 4*time.Second
	eventually(t, "cam runs", func() bool { return newestScene(t, base+"/api/v1/sources/cam/scene").Frame.Seq > 3 })
	var progress bytes.Buffer
	begin := time.Now()
	if err := w.RunWatch(t.Context(), io.Discard, &progress, quiet); err != nil {
		t.Fatalf("%v\n%s", err, &progress)
	}
	most := 2 * int(10*time.Since(begin).Seconds()) // a scene that came early counts once more
	fields := strings.Split(probed(t, w.Out), ",")
	var n int
	if err := json.Unmarshal([]byte(fields[len(fields)-1]), &n); err != nil || n < 2 || n > most { // some 40
		t.Errorf("%s pictures in 4 s at 10 a second, want at most %d", fields[len(fields)-1], most)
	}
	w = newWatch(t, "")
	w.Gateway, w.Source, w.JSON, w.Frames = base+"/", "cam", true, 5
	var out bytes.Buffer
	if err := w.RunWatch(t.Context(), &out, io.Discard, quiet); err != nil || strings.Count(out.String(), "\n") != 5 {
		t.Errorf("--frames 5: %v\n%s", err, &out)
	}
	w.Source, w.Frames, w.JSON = "album", 0, false // it has ended: its last scene, and the end
	out.Reset()
	progress.Reset()
	eventually(t, "album is complete", func() bool { return newestScene(t, base+"/api/v1/sources/album/scene").Frame.Seq == 3 })
	if err := w.RunWatch(t.Context(), &out, &progress, quiet); err != nil || !strings.HasPrefix(out.String(), "album 3 complete: ") || !strings.Contains(progress.String(), "album is complete") {
		t.Errorf("an ended source: %v\n%s%s", err, &out, &progress)
	}
	w.Source, w.Frames = "", 1 // album has ended, and is the first by name
	out.Reset()
	if err := w.RunWatch(t.Context(), &out, io.Discard, quiet); err != nil || !strings.HasPrefix(out.String(), "cam ") {
		t.Errorf("without --source: %v\n%s", err, &out)
	}
	w.Frames = 0
	if err := w.RunWatch(t.Context(), full{}, io.Discard, quiet); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("nobody reads what is printed: %v", err)
	}
	w.Source, w.Duration = "nobody", 3*time.Second
	progress.Reset()
	if err := w.RunWatch(t.Context(), io.Discard, &progress, quiet); err != nil || strings.Count(progress.String(), "no source nobody yet, but: album, cam\n") != 1 {
		t.Errorf("an unknown source: %v\n%s", err, &progress)
	}
}

// A live source's video keeps its time, but stands still no longer than longestPause, and not where a new session or a
// set clock jumps.
func TestWatchKeepsTime(t *testing.T) {
	t.Parallel()
	captured := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	type moment struct {
		after   time.Duration // of the first picture
		session string
	}
	for name, c := range map[string]struct {
		moments []moment
		want    int // pictures, at 10 a second
	}{
		"as captured":      {[]moment{{0, "a"}, {500 * time.Millisecond, "a"}, {1500 * time.Millisecond, "a"}}, 15},
		"a short gap":      {[]moment{{0, "a"}, {9 * time.Second, "a"}}, 90},
		"a long gap":       {[]moment{{0, "a"}, {time.Hour, "a"}, {time.Hour + time.Second, "a"}}, 1 + 1 + 9},
		"a clock set back": {[]moment{{0, "a"}, {-time.Hour, "a"}, {-time.Hour + time.Second, "a"}}, 1 + 1 + 9},
		"a new session":    {[]moment{{0, "a"}, {5 * time.Second, "b"}, {6 * time.Second, "b"}}, 1 + 1 + 9},
	} {
		t.Run(name, func(t *testing.T) {
			s := &show{w: &Watch{Out: filepath.Join(t.TempDir(), "out.avi")}, out: io.Discard, painter: drawing.NewPainter()}
			defer s.painter.Close()
			if err := s.open(10); err != nil {
				t.Fatal(err)
			}
			for _, m := range c.moments {
				scene := api.Scene{Frame: api.Frame{Source: "cam", Session: m.session}, Size: [2]int{64, 48}, Captured: captured.Add(m.after)}
				if err := s.scene(t.Context(), scene, grey(t, 64, 48, 90), nil, true); err != nil {
					t.Fatal(err)
				}
			}
			if got := s.video.Frames(); got != c.want {
				t.Errorf("the video has %d pictures, want %d", got, c.want)
			}
			if err := s.video.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// full is a pipe that nobody reads any more.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.EPIPE }

// Without --source, what runs is watched, else what has something to show.
func TestWatchChooses(t *testing.T) {
	t.Parallel()
	info := func(name string, state flow.State, seq uint64) api.Source {
		return api.Source{Source: name, State: state, Seq: seq}
	}
	for name, c := range map[string]struct {
		sources []api.Source
		want    string
	}{
		"none":            {nil, ""},
		"one runs":        {[]api.Source{info("a", flow.StateComplete, 9), info("b", api.StateGone, 9), info("c", flow.StateRunning, 0)}, "c"},
		"all have ended":  {[]api.Source{info("a", flow.StateFailed, 0), info("b", flow.StateComplete, 9)}, "b"},
		"only a gone one": {[]api.Source{info("a", api.StateGone, 9)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := choose(&api.Status{Sources: c.sources}); got != c.want {
				t.Errorf("chosen is %q, want %q", got, c.want)
			}
		})
	}
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	w := newWatch(t, "")
	w.Gateway = server.URL
	var p *api.Problem
	if err := w.RunWatch(t.Context(), io.Discard, io.Discard, quiet); !errors.As(err, &p) || p.Status != http.StatusNotFound {
		t.Errorf("something else than a gateway: %v", err)
	}
}

func TestWatchRefuses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Watch){
		"no gateway": func(w *Watch) { w.Gateway = "ftp://x" }, "both": func(w *Watch) { w.File, w.Source = "a.avi", "cam" },
		"fps": func(w *Watch) { w.FPS = -1 }, "past": func(w *Watch) { w.Duration = -1 },
		"itself": func(w *Watch) { w.File, w.Out = "cam=watch_test.go#fps=5", "./watch_test.go" },
	} {
		w := newWatch(t, "")
		change(w)
		if err := w.Validate(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	w := newWatch(t, "")
	w.Gateway = "http://" + porttest.Address(t)
	if err := w.RunWatch(t.Context(), io.Discard, io.Discard, quiet); err == nil || !strings.Contains(err.Error(), "is a gateway there?") {
		t.Errorf("nobody listens: %v", err)
	}
	w = newWatch(t, filepath.Join(t.TempDir(), "missing.avi"))
	if err := w.RunWatch(t.Context(), io.Discard, io.Discard, quiet); err == nil || !strings.Contains(err.Error(), "missing.avi") {
		t.Errorf("no such file: %v", err)
	}
}
