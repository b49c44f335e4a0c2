package source

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// filmed makes a film with ffmpeg.
func filmed(t testing.TB, name string, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	cmd := exec.Command("ffmpeg", append(append([]string{"-nostdin", "-v", "error"}, args...), path)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg %v: %v\n%s", args, err, out)
	}
	return path
}

func openTest(t testing.TB, path string, options Options) Source {
	t.Helper()
	s, _, err := Open(t.Context(), Spec{path: path, Settings: Settings{Quality: 90}}, options)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// seen is a picture of a film: its time stamp and what it looks like.
type seen struct {
	at  time.Duration
	sum [32]byte
}

// rest reads a source to its end, which is returned.
func rest(t testing.TB, s Source) (all []seen, end error) {
	t.Helper()
	for {
		p, err := s.Next(t.Context())
		if err != nil {
			return all, err
		}
		if p.Finish(); p.Broken != "" {
			t.Fatal(p.Broken)
		}
		all = append(all, seen{p.At, sha256.Sum256(p.Data)})
	}
}

// TestSkipIsExact goes on with films at every tenth picture, those with B-frames and a variable rate included.
func TestSkipIsExact(t *testing.T) {
	t.Parallel()
	x264 := []string{"-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p"}
	for name, path := range map[string]string{
		"B-frames":      filmed(t, "film.mp4", append([]string{"-f", "lavfi", "-i", "testsrc=s=96x64:r=10:d=4"}, append(x264, "-bf", "3", "-g", "12")...)...),
		"variable rate": filmed(t, "film.mkv", append([]string{"-f", "lavfi", "-i", "testsrc=s=96x64:r=10:d=4", "-vf", "setpts=(N+3*floor(N/7))*0.1/TB", "-fps_mode", "passthrough"}, append(x264, "-bf", "3")...)...),
		"odd size":      filmed(t, "film.avi", "-f", "lavfi", "-i", "testsrc=s=97x65:r=10:d=4", "-c:v", "mjpeg", "-pix_fmt", "yuvj444p"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openTest(t, path, Options{})
			defer s.Close()
			whole, err := rest(t, s)
			if !errors.Is(err, io.EOF) || len(whole) != 40 {
				t.Fatalf("%d pictures, then %v", len(whole), err)
			}
			for n := 10; n <= 50; n += 10 {
				s := openTest(t, path, Options{})
				before := 0
				if n == 20 { // some are read before
					for ; before < 5; before++ {
						p, err := s.Next(t.Context())
						if err != nil {
							t.Fatal(err)
						}
						p.Release()
					}
				}
				if err := s.Skip(t.Context(), uint64(n-before)); err != nil {
					t.Fatal(err)
				}
				left, err := rest(t, s)
				if !errors.Is(err, io.EOF) || len(left) != max(0, 40-n) {
					t.Errorf("after %d: %d pictures, then %v", n, len(left), err)
				}
				for i, picture := range left {
					if picture != whole[n+i] {
						t.Errorf("after %d: picture %d is another", n, n+i)
					}
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestFilmFails says which film, and why, in a line.
func TestFilmFails(t *testing.T) {
	t.Parallel()
	whole := filmed(t, "whole.mp4", "-f", "lavfi", "-i", "testsrc=s=160x120:r=10:d=4", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "10", "-movflags", "+faststart")
	data, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, data []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	bad := bytes.Clone(data)
	for i := len(bad) / 2; i < len(bad)/2+1000; i++ {
		bad[i] = byte(i * i >> 3)
	}
	most := bytes.Clone(data)
	for i := len(most) / 4; i < len(most)*9/10; i++ {
		most[i] = byte(i * i >> 3)
	}
	for name, test := range map[string]struct {
		path    string
		strict  bool
		least   int // pictures
		corrupt bool
		end     error
		says    string
	}{
		"whole":          {path: whole, least: 40, end: io.EOF},
		"whole, strict":  {path: whole, strict: true, least: 40, end: io.EOF},
		"cut short":      {path: write("cut.mp4", data[:len(data)/2]), least: 1, end: ErrFilm, corrupt: true, says: "film cut.mp4: it ends early: at "},
		"broken":         {path: write("bad.mp4", bad), least: 20, corrupt: true, end: io.EOF},
		"mostly broken":  {path: write("most.mp4", most), least: 1, corrupt: true, end: io.EOF},
		"broken, strict": {path: write("bad\n\xff.mp4", bad), strict: true, least: 20, corrupt: true, end: ErrCorrupt, says: `film "bad\n\xff.mp4": `},
		"sound":          {path: filmed(t, "sound.mp4", "-f", "lavfi", "-i", "sine=d=1"), end: ErrOpen, says: "sound.mp4: no film: there is only sound in it"},
		"empty":          {path: write("empty.mp4", nil), end: ErrOpen, says: "empty.mp4: no film: it is empty"},
		"a list":         {path: write("list.m3u8", []byte("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n"+whole+"\n#EXT-X-ENDLIST\n")), end: ErrOpen, says: "only names other files"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _, err := Open(t.Context(), Spec{path: test.path, Settings: Settings{Quality: 90}}, Options{Film: Film{Strict: test.strict}})
			var pictures []seen
			if err == nil {
				defer s.Close()
				pictures, err = rest(t, s)
				if (s.Corrupt() > 0) != test.corrupt {
					t.Errorf("%d corrupt packets", s.Corrupt())
				}
			}
			if !errors.Is(err, test.end) || !strings.Contains(fmt.Sprint(err), test.says) || strings.Contains(fmt.Sprint(err), "\n") || !utf8.ValidString(fmt.Sprint(err)) {
				t.Errorf("its end: %q, want %v saying %q", err, test.end, test.says)
			}
			if len(pictures) < test.least {
				t.Errorf("%d pictures, want at least %d", len(pictures), test.least)
			}
		})
	}
}

// TestClosedWhileItReads: nothing of a film stays when it is closed at any moment.
func TestClosedWhileItReads(t *testing.T) {
	t.Parallel()
	path := filmed(t, "film.mp4", "-f", "lavfi", "-i", "testsrc=s=640x360:r=10:d=3", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
	for read := range 4 {
		s := openTest(t, path, Options{})
		for range read {
			p, err := s.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer p.Release() // after the source is closed
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
