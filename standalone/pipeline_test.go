package standalone

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/reference"
	"github.com/spatial-flow/spatial-flow/standalone/pipeline"
)

// Killed with -9 twice in the middle: the same command, a third time, completes one file; a fourth adds nothing.
func TestKilledProcessGoesOn(t *testing.T) {
	t.Parallel()
	const frames = 300
	detect, depth := noCost(t)
	data, scenes := t.TempDir(), filepath.Join(t.TempDir(), "scenes.jsonl")
	arguments := []string{"up", "--source", pictures(t, frames), "--detect-model", detect, "--depth-model", depth, "--depth-size", "56",
		"--http", "127.0.0.1:0", "--admin", "", "--run", "night", "--data-dir", data, "--scenes", scenes, "--exit-when-done"}
	written := func() int {
		content, err := os.ReadFile(scenes)
		if err != nil {
			return 0
		}
		return bytes.Count(content, []byte("\n"))
	}
	for _, until := range []int{frames / 6, frames / 3} {
		command, output := program(t, arguments...)
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, fmt.Sprintf("%d scenes written", until), func() bool { return written() >= until })
		if err := command.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := command.Wait(); err == nil {
			t.Fatalf("ended before it was killed:\n%s", output)
		}
	}
	for _, want := range []string{"went on after frame", "complete already (300 frames)"} {
		command, output := program(t, arguments...)
		if err := command.Run(); err != nil {
			t.Fatalf("%v:\n%s", err, output)
		}
		if !strings.Contains(output.String(), want) {
			t.Errorf("the summary does not say %q:\n%s", want, output)
		}
		if got := lines(t, scenes); len(got) != frames {
			t.Fatalf("%d scenes of %d frames", len(got), frames)
		}
	}
}

// A broken picture is an error scene; a source that can't be opened fails alone, and the whole with it.
func TestBadInputIsNamedAndCounted(t *testing.T) {
	t.Parallel()
	folder := pictures(t, 3)
	if err := os.WriteFile(filepath.Join(folder, "00001.jpg"), []byte("no picture"), 0o600); err != nil {
		t.Fatal(err)
	}
	up := newUp(t, folder, "gone=/nowhere/film.mp4")
	up.Scenes = filepath.Join(t.TempDir(), "scenes.jsonl")
	var out strings.Builder
	err := up.RunPipeline(t.Context(), &out, io.Discard, quiet)
	if !errors.Is(err, pipeline.ErrSource) || !strings.Contains(err.Error(), "/nowhere/film.mp4") {
		t.Errorf("error %v, want ErrSource that names the file", err)
	}
	var outcomes []flow.Outcome
	for _, scene := range lines(t, up.Scenes) {
		outcomes = append(outcomes, scene.Outcome)
		if scene.Outcome == flow.OutcomeError && !strings.Contains(scene.Errors[flow.GroupDetect], "00001.jpg") {
			t.Errorf("errors %v do not name the picture", scene.Errors)
		}
	}
	if diff := cmp.Diff([]flow.Outcome{flow.OutcomeComplete, flow.OutcomeError, flow.OutcomeComplete}, outcomes); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s\n%s", diff, out.String())
	}
}

func TestGroupLeftOut(t *testing.T) {
	t.Parallel()
	up := newUp(t, pictures(t, 5))
	up.DepthModel = None
	up.Scenes = filepath.Join(t.TempDir(), "scenes.jsonl")
	if err := up.RunPipeline(t.Context(), io.Discard, io.Discard, quiet); err != nil {
		t.Fatal(err)
	}
	for _, scene := range lines(t, up.Scenes) {
		if diff := cmp.Diff([]string{flow.GroupDetect}, scene.Plan); diff != "" || len(scene.Detections) != 8 || scene.Detections[0].Depth != nil {
			t.Errorf("scene %+v", scene)
		}
	}
}

// --duration stops the sources in the middle, waits for what is under way, and everything balances.
func TestDurationEndsInBalance(t *testing.T) {
	t.Parallel()
	up := newUp(t, pictures(t, 3000))
	up.Duration, up.ExitWhenDone = time.Second, false
	var out strings.Builder
	if err := up.RunPipeline(t.Context(), &out, io.Discard, quiet); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if !strings.Contains(out.String(), "stopped") {
		t.Errorf("summary:\n%s", out.String())
	}
}

func TestValidateNamesTheWayOut(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*Up)
		want   error
		says   string
	}{
		"no model":           {func(u *Up) { u.DetectModel, u.DepthModel = None, None }, ErrNoModel, "--detect-model"},
		"no source":          {func(u *Up) { u.Sources = nil }, ErrUsage, "--source"},
		"run without folder": {func(u *Up) { u.Run = "a" }, ErrUsage, "--data-dir"},
		"bad run":            {func(u *Up) { u.Run, u.DataDir = "a.b", "x" }, ErrUsage, "a.b"},
		"model not there":    {func(u *Up) { u.DepthModel = "/nowhere.onnx" }, ErrUsage, "/nowhere.onnx"},
		"negative duration":  {func(u *Up) { u.Duration = -1 }, ErrUsage, "--duration"},
		"no window":          {func(u *Up) { u.Window = 0 }, ErrUsage, "--window"},
		"no quality":         {func(u *Up) { u.Quality = 101 }, ErrUsage, "--quality"},
		"bad confidence":     {func(u *Up) { u.Confidence = 2 }, ErrUsage, "--confidence"},
		"a name twice":       {func(u *Up) { u.Sources = []string{"a=x.jpg", "a=y.jpg"} }, ErrUsage, "twice"},
		"a lossless camera":  {func(u *Up) { u.Sources = []string{"rtsp://h/x"} }, ErrUsage, "rtsp:"},
	} {
		up := newUp(t, "x.jpg")
		test.change(up)
		if err := up.Validate(); !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want %v that says %s", name, err, test.want, test.says)
		}
	}
}

// The same pictures twice give the same scenes, to the bit.
func TestTwiceTheSame(t *testing.T) {
	t.Parallel()
	folder := reference.Path(t)
	run := func() []api.Scene {
		up := newUp(t, filepath.Join(folder, "data", "images"))
		up.DetectModel = filepath.Join(folder, "models", "yolov8n_int8.onnx")
		up.DepthModel, up.DepthSize = filepath.Join(folder, "vectors", "da_v2_dynamic", "model.onnx"), 252
		up.Scenes = filepath.Join(t.TempDir(), "scenes.jsonl")
		if err := up.RunPipeline(context.Background(), io.Discard, io.Discard, quiet); err != nil {
			t.Fatal(err)
		}
		return lines(t, up.Scenes)
	}
	first, second := run(), run()
	ignore := cmp.Options{cmpopts.IgnoreFields(api.Scene{}, "Captured", "Ledger"), cmpopts.IgnoreFields(api.Frame{}, "Session")}
	if diff := cmp.Diff(first, second, ignore); diff != "" || len(first) != 7 {
		t.Errorf("%d scenes; the second run differs:\n%s", len(first), diff)
	}
}

// The scenes of a run are read before its source is open, which takes a while; they are in the file all the same.
func TestSceneFileBegunLater(t *testing.T) {
	t.Parallel()
	folder := pictures(t, 5)
	first := newUp(t, folder)
	first.DataDir, first.Run = t.TempDir(), "monday"
	if err := first.RunPipeline(t.Context(), io.Discard, io.Discard, quiet); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(folder, folder+".away"); err != nil { // so long that it never opens
		t.Fatal(err)
	}
	again := newUp(t, "stripes="+folder)
	again.DataDir, again.Run, again.Scenes = first.DataDir, first.Run, filepath.Join(t.TempDir(), "scenes.jsonl")
	err := again.RunPipeline(t.Context(), io.Discard, io.Discard, quiet)
	if !errors.Is(err, pipeline.ErrSource) || errors.Is(err, pipeline.ErrSceneFile) {
		t.Errorf("%v, want ErrSource alone", err)
	}
	if n := len(lines(t, again.Scenes)); n != 5 {
		t.Errorf("the file has %d scenes of 5 (%v)", n, err)
	}
}
