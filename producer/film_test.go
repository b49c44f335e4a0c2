package producer_test

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/reference"
	"github.com/spatial-flow/spatial-flow/producer"
)

// film makes one with ffmpeg.
func film(t testing.TB, path string, args ...string) {
	t.Helper()
	cmd := exec.Command("ffmpeg", append(append([]string{"-nostdin", "-v", "error", "-y"}, args...), path)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg %v: %v\n%s", args, err, out)
	}
}

// A run of a film that has B-frames and a variable rate goes on exactly, wherever it stopped; with another film of that name it
// does not.
func TestFilmGoesOn(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "film.mkv")
	made := []string{"-f", "lavfi", "-i", "testsrc=s=64x48:r=10:d=4", "-vf", "setpts=(N+3*floor(N/7))*0.1/TB", "-fps_mode", "passthrough", "-c:v", "libx264", "-bf", "3", "-pix_fmt", "yuv420p"}
	film(t, path, made...)
	b := newBench(t)
	f := b.fuse(t, &fuser{})
	for _, frames := range []uint64{10, 20, 30, 40} {
		l := b.start(t, func(c *producer.Config) { c.Run, c.Frames = "parts", frames }, "p="+path)
		s := l.wait()[0]
		if s.State != flow.StateComplete || s.Account.Complete != 10 || s.Resumed != frames-10 {
			t.Fatalf("up to %d: %+v", frames, s)
		}
		l.stop()
	}
	l := b.start(t, func(c *producer.Config) { c.Run = "whole" }, "p="+path)
	l.wait()
	l.stop()
	sent := map[string]map[uint64][]byte{"parts": {}, "whole": {}}
	frames, _ := f.accepted("p")
	for _, frame := range frames {
		sent[frame.Session][frame.Seq] = frame.Picture
	}
	for seq := uint64(1); seq <= 40; seq++ {
		if len(sent["whole"][seq]) == 0 || string(sent["parts"][seq]) != string(sent["whole"][seq]) {
			t.Errorf("frame %d is another when the run goes on", seq)
		}
	}

	made[3] = "testsrc2=s=64x48:r=10:d=4"
	film(t, path, made...)
	l = b.start(t, func(c *producer.Config) { c.Run, c.ExitWhenDone = "parts", true }, "p="+path)
	s := l.wait()[0]
	if s.State != flow.StateFailed || !strings.Contains(s.Reason, "another film") || s.Account.Captured != 0 {
		t.Errorf("another film: %+v", s)
	}
	if err := <-l.ended; !errors.Is(err, producer.ErrSource) {
		t.Errorf("another film: %v", err)
	}
	l.ended <- nil
}

// TestFilmCases runs what broke the product through a producer.
func TestFilmCases(t *testing.T) {
	t.Parallel()
	folder := reference.Path(t, "cases", "films")
	for name, want := range map[string]struct {
		pictures uint64
		size     string // of the last
		corrupt  uint64
		says     string // when it fails
		strict   bool
	}{
		"anim.gif": {pictures: 20, size: "320x180"}, "browser.webm": {pictures: 120, size: "320x180"}, "clip.mp4": {pictures: 20, size: "320x240"},
		"bad-packet.mp4": {pictures: 52, size: "320x180", corrupt: 1}, "bad-packet.mp4 ": {pictures: 52, size: "320x180", corrupt: 1, strict: true, says: "--strict"},
		"cover-first.mp4": {pictures: 20, size: "320x240"}, "covered.mkv": {pictures: 20, size: "320x240"}, "grows.ts": {pictures: 40, size: "320x180"},
		"hevc10.mp4": {pictures: 20, size: "320x180"}, "interlaced.mpg": {pictures: 12, size: "720x576"}, "odd-size.mp4": {pictures: 20, size: "321x181"},
		"rot90.mp4": {pictures: 10, size: "240x320"}, "vfr.mkv": {pictures: 36, size: "320x180"}, "whole.mp4": {pictures: 60, size: "320x180"},
		"audio-only.mp4": {says: "only sound"}, "nomoov.mp4": {says: "nomoov.mp4: no film"}, "cut-to-nothing.mp4": {pictures: 1, size: "320x180", corrupt: 1, says: "it ends early"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			f := b.fuse(t, &fuser{})
			l := b.start(t, func(c *producer.Config) { c.ExitWhenDone, c.Strict = true, want.strict }, "p="+filepath.Join(folder, strings.TrimSpace(name)))
			s := l.wait()[0]
			state := flow.StateComplete
			if want.says != "" {
				state = flow.StateFailed
			}
			if s.State != state || !strings.Contains(s.Reason, want.says) || want.says == "" && s.Reason != "" || s.Account.Complete != want.pictures || s.Corrupt != want.corrupt {
				t.Errorf("%+v, want %+v", s, want)
			}
			if err := <-l.ended; errors.Is(err, producer.ErrSource) != (want.says != "") {
				t.Errorf("it ends with %v", err)
			}
			l.ended <- nil
			if strings.Contains(l.log.String(), "cut short") != (want.says == "it ends early") {
				t.Errorf("the log: %s", l.log.String())
			}
			frames, _ := f.accepted("p")
			if n := len(frames); n > 0 {
				if size := fmt.Sprintf("%dx%d", frames[n-1].Width, frames[n-1].Height); size != want.size {
					t.Errorf("pictures of %s, want %s", size, want.size)
				}
			}
		})
	}
}
