package ffmpeg_test

import (
	"bytes"
	"errors"
	"io"
	"os/exec"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/spatial-flow/spatial-flow/producer/source/ffmpeg"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// coded runs ffmpeg on a generated picture and returns what it writes.
func coded(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("ffmpeg", append([]string{"-nostdin", "-v", "error"}, args...)...)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		t.Fatalf("ffmpeg %v: %v\n%s", args, err, complaints.Bytes())
	}
	return out.Bytes()
}

// units splits an Annex B stream that has an access unit delimiter before each unit.
func units(stream, delimiter []byte) (all [][]byte) {
	for _, unit := range bytes.Split(stream, delimiter)[1:] {
		all = append(all, append(bytes.Clone(delimiter), unit...))
	}
	return all
}

func TestStreamGivesEachUnitAtOnce(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		format ffmpeg.Format
		units  [][]byte
	}{
		"h264": {ffmpeg.H264, units(coded(t, "-f", "lavfi", "-i", "testsrc=s=320x180:r=10:d=2", "-c:v", "libx264", "-g", "5", "-tune", "zerolatency", "-pix_fmt", "yuv420p",
			"-bsf:v", "h264_metadata=aud=insert", "-f", "h264", "-"), []byte{0, 0, 0, 1, 9})},
		"hevc": {ffmpeg.H265, units(coded(t, "-f", "lavfi", "-i", "testsrc=s=320x180:r=10:d=2", "-c:v", "libx265", "-x265-params", "log-level=none:keyint=5:bframes=0", "-tune", "zerolatency", "-pix_fmt", "yuv420p",
			"-bsf:v", "hevc_metadata=aud=insert", "-f", "hevc", "-"), []byte{0, 0, 0, 1, 0x46, 1})},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if len(test.units) != 20 {
				t.Fatalf("%d units, want 20", len(test.units))
			}
			s, err := ffmpeg.OpenStream(t.Context(), ffmpeg.StreamOptions{Format: test.format, Silence: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			// An hour into a camera's life, at uneven times; the next is only written once the one before has come back.
			for i, unit := range test.units {
				want := time.Hour + time.Duration(i*i+100*i)*time.Millisecond
				if err := s.WriteUnit(want, i%5 == 0, unit); err != nil {
					t.Fatal(err)
				}
				at, err := s.Next(t.Context(), func(l ffmpeg.Layout) []byte {
					if (l != ffmpeg.Layout{Width: 320, Height: 180}) {
						t.Errorf("%+v", l)
					}
					return make([]byte, l.Bytes())
				})
				if err != nil || at != want {
					t.Fatalf("picture %d: at %v, %v; want %v", i, at, err, want)
				}
			}
			if err := s.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Next(t.Context(), nil); !errors.Is(err, io.EOF) {
				t.Errorf("at the end: %v", err)
			}
		})
	}
}
