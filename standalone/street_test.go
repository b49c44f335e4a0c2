package standalone

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
)

// A generated street goes through the pipeline like any source, never ahead of its clock.
func TestStreetGoesThroughThePipeline(t *testing.T) {
	t.Parallel()
	up := newUp(t, "street:?seed=7&fps=20&size=320x180", "bay=street:?seed=8&fps=20&size=64x64&split=held-out")
	up.Scenes = filepath.Join(t.TempDir(), "scenes.jsonl")
	up.Frames = 20
	var out strings.Builder
	begin := time.Now()
	if err := up.RunPipeline(t.Context(), &out, io.Discard, quiet); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if took, least := time.Since(begin), 19*time.Second/20; took < least {
		t.Errorf("20 frames at 20 a second took %v, want %v", took, least)
	}
	count := map[string]int{}
	for _, scene := range lines(t, up.Scenes) {
		count[scene.Frame.Source]++
		if scene.Outcome != flow.OutcomeComplete {
			t.Errorf("scene %s is %s: %v", scene.Frame, scene.Outcome, scene.Errors)
		}
	}
	for _, name := range []string{"street", "bay"} {
		if n := count[name]; n != 20 {
			t.Errorf("%s: %d scenes of 20 frames\n%s", name, n, out.String())
		}
	}
}

// A live source beside a lossless one: the newest picture goes through at once, the others are skipped and counted.
func TestLiveBesideLossless(t *testing.T) {
	t.Parallel()
	up := newUp(t, "live="+pictures(t, 60)+"#mode=live&fps=1000&loop=true", pictures(t, 60))
	up.Mode, up.ExitWhenDone = "", false
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	pipe := piped(t, up, func(address net.Addr) { // until the lossless one is through, however long that takes
		go func() {
			defer stop()
			for ctx.Err() == nil {
				if answer, err := http.Get("http://" + address.String() + "/api/v1/sources"); err == nil {
					body, _ := io.ReadAll(answer.Body)
					answer.Body.Close()
					if strings.Contains(string(body), `"state":"complete"`) {
						return
					}
				}
				time.Sleep(20 * time.Millisecond)
			}
		}()
	})
	var out strings.Builder
	if err := pipe.Run(ctx, &out, io.Discard, quiet); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	text := strings.Join(strings.Fields(out.String()), " ")
	if !strings.Contains(text, "live stopped") || !strings.Contains(text, "overtaken ") || !strings.Contains(text, "stripes complete 60 0 60 60 ") {
		t.Errorf("want both sources to go through, the live one with pictures overtaken:\n%s", out.String())
	}
}

// Every scene of a live source is not kept, so they can't be written.
func TestLiveScenesAreNotWritten(t *testing.T) {
	t.Parallel()
	up := newUp(t, "street:")
	up.Mode, up.Scenes = "", filepath.Join(t.TempDir(), "scenes.jsonl")
	if err := up.Validate(); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "--mode lossless") {
		t.Errorf("error %v, want one that tells the way out", err)
	}
}

// A source that can't be meant ends up at once, and says why.
func TestBadStreetEndsUp(t *testing.T) {
	t.Parallel()
	up := newUp(t, "street:?sede=7")
	err := up.RunPipeline(t.Context(), io.Discard, io.Discard, quiet)
	if err == nil || !strings.Contains(err.Error(), `"sede"`) || !strings.Contains(err.Error(), "seed, fps, size and split") {
		t.Errorf("error %v, want one that names the parameter and what there is", err)
	}
}

func TestStreetExportCommand(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "set")
	command, output := program(t, "street", "export", "--frames", "3", "--seed", "5", "--out", folder, "--size", "128x72", "--split", "held-out")
	if err := command.Run(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	for _, name := range []string{"images/000003.jpg", "labels/000003.txt", "depth/000003.png", "manifest.jsonl"} {
		if _, err := os.Stat(filepath.Join(folder, filepath.FromSlash(name))); err != nil {
			t.Error(err)
		}
	}
	again, output := program(t, "street", "export", "--frames", "3", "--out", folder)
	if err := again.Run(); err == nil || !strings.Contains(output.String(), "not empty") {
		t.Errorf("into the same folder again: %v\n%s", err, output)
	}
	small, output := program(t, "street", "export", "--frames", "3", "--out", folder+"2", "--size", "huge")
	if err := small.Run(); err == nil || !strings.Contains(output.String(), "WIDTHxHEIGHT") {
		t.Errorf("a size that is none: %v\n%s", err, output)
	}
}
