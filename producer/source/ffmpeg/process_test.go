package ffmpeg_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/producer/source/ffmpeg"
)

// pretend puts a program of this name, a shell script, before all others. The test must not be parallel.
func pretend(t *testing.T, name, script string) {
	t.Helper()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, name), []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
}

func TestNoProgram(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := ffmpeg.Probe(t.Context(), "film.mp4"); !errors.Is(err, ffmpeg.ErrNoProgram) || !strings.Contains(err.Error(), "apt-get install ffmpeg") {
		t.Errorf("Probe: %v", err)
	}
	if _, err := ffmpeg.OpenStream(t.Context(), ffmpeg.StreamOptions{Format: ffmpeg.H264}); !errors.Is(err, ffmpeg.ErrNoProgram) {
		t.Errorf("OpenStream: %v", err)
	}
	if _, err := ffmpeg.NewEncoder(t.Context(), "film.mp4", 2, 2, 1); !errors.Is(err, ffmpeg.ErrNoProgram) {
		t.Errorf("NewEncoder: %v", err)
	}
}

func nowhere(ffmpeg.Layout) []byte { return nil }

// What hangs is killed, with what it has started.
func TestHang(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	if err := syscall.Mkfifo(pids, 0o600); err != nil {
		t.Fatal(err)
	}
	pretend(t, "ffmpeg", "sleep 1000 & echo $$ $! >"+pids+"; wait")
	s, err := ffmpeg.OpenStream(t.Context(), ffmpeg.StreamOptions{Format: ffmpeg.H264, Silence: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(pids) // waits for the writer
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Next(t.Context(), nowhere); !errors.Is(err, ffmpeg.ErrSilent) {
		t.Errorf("%v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if len(strings.Fields(string(text))) != 2 {
		t.Errorf("the processes are %q", text)
	}
	for _, pid := range strings.Fields(string(text)) {
		gone(t, pid)
	}
}

// gone waits until a process is no more, or but a zombie of somebody else's.
func gone(t *testing.T, pid string) {
	t.Helper()
	n, err := strconv.Atoi(pid)
	if err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); time.Since(begin) < 30*time.Second; time.Sleep(10 * time.Millisecond) {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
	}
	_ = syscall.Kill(n, syscall.SIGKILL)
	t.Errorf("process %s is still there", pid)
}

// A flood of messages, one of them without end, neither stops the pictures nor fills the memory; the end says why.
func TestFlood(t *testing.T) {
	pretend(t, "ffmpeg", `i=0
while [ $i -lt 20000 ]; do echo "[h264 @ 0x55] [error] nonsense $i"; i=$((i+1)); done >&2
head -c 3000000 /dev/zero | tr '\0' x >&2
echo >&2
echo "[error] Error while decoding stream #0:0: Invalid data found when processing input" >&2
printf "[h264 @ 0x55] [error] the \033[31mlast\tword\n" >&2
exit 3`)
	s, err := ffmpeg.OpenStream(t.Context(), ffmpeg.StreamOptions{Format: ffmpeg.H264})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = s.Next(t.Context(), nowhere)
	if !errors.Is(err, ffmpeg.ErrDecode) || !strings.Contains(err.Error(), "exit status 3: the .[31mlast.word") || len(err.Error()) > 300 {
		t.Errorf("%.1000v", err)
	}
	if s.Corrupt() != 1 {
		t.Errorf("%d corrupt packets, want 1", s.Corrupt())
	}
}

// What is no answer is refused, and does not fill the memory.
func TestProbeAnswers(t *testing.T) {
	for script, says := range map[string]string{
		"echo hello":                         "no JSON",
		"cat /dev/zero":                      "more than",
		"echo '{}'":                          "no video in it",
		"echo '[error] no luck' >&2; exit 1": "no luck",
		"kill -9 $$":                         "finds nothing in it",
	} {
		pretend(t, "ffprobe", script)
		if _, err := ffmpeg.Probe(t.Context(), "film.mp4"); !errors.Is(err, ffmpeg.ErrNoVideo) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", script, err, says)
		}
	}
}

func TestStopped(t *testing.T) {
	pretend(t, "ffmpeg", "exec sleep 1000")
	ctx, cancel := context.WithCancel(t.Context())
	s, err := ffmpeg.OpenStream(ctx, ffmpeg.StreamOptions{Format: ffmpeg.H264})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	time.AfterFunc(100*time.Millisecond, cancel)
	if _, err := s.Next(ctx, nowhere); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestKilledWithUs kills a process that decodes, as the kernel does when there is no memory: nothing of it stays.
func TestKilledWithUs(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pid")
	if err := syscall.Mkfifo(pids, 0o600); err != nil {
		t.Fatal(err)
	}
	pretend(t, "ffmpeg", "echo $$ >"+pids+"; exec sleep 1000")
	self := exec.Command(os.Args[0], "-test.run", "^TestDecodesUntilKilled$")
	self.Env = append(os.Environ(), "DECODE_UNTIL_KILLED=1")
	if err := self.Start(); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(pids) // waits for the writer
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	pid, err := bufio.NewReader(file).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if err := self.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = self.Wait() // it says that it was killed
	gone(t, strings.TrimSpace(pid))
}

// TestDecodesUntilKilled is the process that TestKilledWithUs kills; by itself it does nothing.
func TestDecodesUntilKilled(t *testing.T) {
	if os.Getenv("DECODE_UNTIL_KILLED") == "" {
		return
	}
	s, err := ffmpeg.OpenStream(t.Context(), ffmpeg.StreamOptions{Format: ffmpeg.H264})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Next(t.Context(), nowhere)
	t.Fatal(err)
}

// A device is read by its own format. No real one is there to be tried.
func TestDevice(t *testing.T) {
	pretend(t, "ffmpeg", `case "$*" in *"-f v4l2 -i /dev/video7 -map"*) echo "[error] /dev/video7: Device or resource busy" >&2 ;; *) echo "[error] $*" >&2 ;; esac; exit 1`)
	d, err := ffmpeg.OpenDevice(t.Context(), "/dev/video7", ffmpeg.DeviceOptions{Silence: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.Next(t.Context(), nowhere); !errors.Is(err, ffmpeg.ErrDecode) || !strings.Contains(err.Error(), "/dev/video7: Device or resource busy") {
		t.Errorf("%v", err)
	}
}

// TestEncoder writes films of every rate with what ffmpeg has: without an encoder for H.264, MPEG-4 part 2.
func TestEncoder(t *testing.T) {
	real, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Fatal(err)
	}
	for codec, hidden := range map[string]string{"h264": "no such encoder", "mpeg4": "libx264"} {
		pretend(t, "ffmpeg", `case "$*" in *-encoders*) `+real+` "$@" | grep -v '`+hidden+`' ;; *) exec `+real+` "$@" ;; esac`)
		for _, fps := range []float64{.1, 10, 23.976, 29.9431, 30000. / 1001, 59.94, 240, 1000} {
			path := filepath.Join(t.TempDir(), "-film.mp4")
			e, err := ffmpeg.NewEncoder(t.Context(), path, 64, 48, fps)
			if err != nil {
				t.Fatal(err)
			}
			for range 5 {
				if err := e.Add(make([]byte, 64*48*3)); err != nil {
					t.Fatal(err)
				}
			}
			if err := e.Close(); err != nil {
				t.Fatalf("%s at %v/s: %v", codec, fps, err)
			}
			info, err := ffmpeg.Probe(t.Context(), path)
			if err != nil || info.Codec != codec || info.Frames != 5 || info.FPS < fps*.999 || info.FPS > fps*1.001 {
				t.Errorf("%s at %v/s: %+v, %v", codec, fps, info, err)
			}
		}
	}
	if _, err := ffmpeg.NewEncoder(t.Context(), "film.mkv", 64, 48, 10); !errors.Is(err, ffmpeg.ErrEncode) {
		t.Errorf("a name that is not written: %v", err)
	}
}
