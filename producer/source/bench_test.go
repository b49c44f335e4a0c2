package source

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow/reference"
)

// BenchmarkFilm plays whole films, reading alone and with the JPEG encoding that follows: pictures a second, and the CPU time of this
// process and those that it started, for each.
func BenchmarkFilm(b *testing.B) {
	small := reference.Path(b, "data", "pedestrians.avi")
	large := filepath.Join(b.TempDir(), "1080p.mp4")
	cmd := exec.Command("ffmpeg", "-nostdin", "-v", "error", "-i", small, "-vf", "scale=1920:1080", "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", large)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	for name, path := range map[string]string{"768x576 MPEG-4": small, "1080p H.264": large} {
		for _, encode := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/encode=%v", name, encode), func(b *testing.B) {
				pictures, before := 0, spent(b)
				for b.Loop() {
					pictures += playAll(b, path, encode)
				}
				b.ReportMetric(float64(pictures)/b.Elapsed().Seconds(), "pictures/s")
				b.ReportMetric((spent(b)-before).Seconds()*1000/float64(pictures), "cpu-ms/picture")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

func playAll(b *testing.B, path string, encode bool) (pictures int) {
	s, _, err := Open(b.Context(), Spec{path: path, Settings: Settings{Quality: 90}}, Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for {
		p, err := s.Next(b.Context())
		if errors.Is(err, io.EOF) {
			return pictures
		}
		if err != nil {
			b.Fatal(err)
		}
		if pictures++; encode {
			p.Finish()
		} else {
			p.Release()
		}
	}
}

// spent is the CPU time of this process and of its children that have ended.
func spent(b *testing.B) (sum time.Duration) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var used syscall.Rusage
		if err := syscall.Getrusage(who, &used); err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(used.Utime.Nano() + used.Stime.Nano())
	}
	return sum
}
