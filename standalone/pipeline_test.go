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
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/producer"
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

// A frame that was taken and never answered comes again, and in the end every frame has its scene.
func TestLostFrameComesAgain(t *testing.T) {
	t.Parallel()
	const frames = 60
	up := newUp(t, pictures(t, frames))
	board := producer.NewBoard()
	p, err := up.start(t.Context(), func() {}, t.TempDir(), board, quiet)
	if err != nil {
		t.Fatal(err)
	}
	thief, err := p.server.Connect("thief", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer thief.Close()
	taken, err := thief.TakeFrames(t.Context(), flow.GroupDetect, flow.ModeLossless, 1)
	if err != nil {
		t.Fatal(err)
	}
	stolen, err := taken.Next()
	if err != nil {
		t.Fatal(err)
	}
	if err := stolen.DoubleAck(t.Context()); err != nil { // acked, never answered
		t.Fatal(err)
	}
	taken.Stop()
	account := func() flow.Account { return board.Statuses()[0].Account }
	eventually(t, "all frames are scenes", func() bool { return account().Complete == frames })
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	if err := verdict(board.Statuses()); err != nil {
		t.Errorf("every frame has its scene, and the verdict is %v", err)
	}
}

// A frame that is still in flight at the end fails the whole, and so does a source that failed.
func TestVerdict(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		status flow.SourceStatus
		want   error
		says   string
	}{
		"balanced":  {flow.SourceStatus{State: flow.StateComplete, Account: flow.Account{Captured: 2, Admitted: 2, Complete: 2}}, nil, ""},
		"in flight": {flow.SourceStatus{State: flow.StateComplete, Account: flow.Account{Captured: 2, Admitted: 2, Complete: 1, InFlight: 1}}, flow.ErrAccount, "never became a scene"},
		"failed":    {flow.SourceStatus{Source: "cam", State: flow.StateFailed, Reason: "cut short"}, ErrSource, "cam: cut short"},
	} {
		err := verdict([]flow.SourceStatus{test.status})
		if !errors.Is(err, test.want) || (err != nil && !strings.Contains(err.Error(), test.says)) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
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
	if !errors.Is(err, ErrSource) || !strings.Contains(err.Error(), "/nowhere/film.mp4") {
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
		"no source":          {func(u *Up) { u.Source = nil }, ErrUsage, "--source"},
		"run without folder": {func(u *Up) { u.Run = "a" }, ErrUsage, "--data-dir"},
		"bad run":            {func(u *Up) { u.Run, u.DataDir = "a.b", "x" }, ErrUsage, "a.b"},
		"model not there":    {func(u *Up) { u.DepthModel = "/nowhere.onnx" }, ErrUsage, "/nowhere.onnx"},
		"negative duration":  {func(u *Up) { u.Duration = -1 }, ErrUsage, "--duration"},
		"no window":          {func(u *Up) { u.Window = 0 }, ErrUsage, "--window"},
		"no quality":         {func(u *Up) { u.Quality = 101 }, ErrUsage, "--quality"},
		"bad confidence":     {func(u *Up) { u.Confidence = 2 }, ErrUsage, "--confidence"},
		"a name twice":       {func(u *Up) { u.Source = []string{"a=x.jpg", "a=y.jpg"} }, ErrUsage, "twice"},
		"a lossless camera":  {func(u *Up) { u.Source = []string{"rtsp://h/x"} }, ErrUsage, "rtsp:"},
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
	folder, ok := shared(t)
	if !ok {
		return
	}
	run := func() []flow.SceneJSON {
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
	ignore := cmp.Options{cmpopts.IgnoreFields(flow.SceneJSON{}, "Captured", "Ledger"), cmpopts.IgnoreFields(flow.FrameID{}, "Session")}
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
	if !errors.Is(err, ErrSource) || errors.Is(err, ErrSceneFile) {
		t.Errorf("%v, want ErrSource alone", err)
	}
	if n := len(lines(t, again.Scenes)); n != 5 {
		t.Errorf("the file has %d scenes of 5", n)
	}
}

// When a service fails nobody finishes what is under way: the program ends at once and not after the drain.
func TestFailedServiceEndsTheProgram(t *testing.T) {
	t.Parallel()
	up := newUp(t, pictures(t, 400))
	up.Scenes = "/dev/full" // fails at the first scene, with a window of frames under way
	up.drain = time.Hour
	ended := make(chan error, 1)
	go func() { ended <- up.RunPipeline(t.Context(), io.Discard, io.Discard, quiet) }()
	select {
	case err := <-ended:
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("error %v, want that there is no space", err)
		}
	case <-time.After(patience):
		t.Fatal("it waits for the drain")
	}
}
