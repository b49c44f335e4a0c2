package standalone

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/porttest"
)

// rtspCamera is an RTSP server, and FFmpeg, which publishes a video to it: the real one, or, without it, a test picture.
type rtspCamera struct {
	t              *testing.T
	address        string
	server, ffmpeg *process
}

func newCamera(t *testing.T) *rtspCamera {
	t.Helper()
	c := &rtspCamera{t: t, address: porttest.Address(t)}
	input := []string{"-f", "lavfi", "-i", "testsrc=size=320x240:rate=25"}
	if video := filepath.Join("..", "..", "shared", "data", "pedestrians.avi"); exists(video) {
		input = []string{"-stream_loop", "-1", "-i", video}
	}
	arguments := append(append([]string{"-v", "error", "-re"}, input...),
		"-an", "-vf", "scale=320:240", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "10",
		"-f", "rtsp", "-rtsp_transport", "tcp", c.url())
	c.server = &process{t: t, name: "RTSP server", start: func() *exec.Cmd {
		server := exec.Command(os.Args[0], c.address)
		server.Env = append(os.Environ(), asProgram+"=rtsp")
		return server
	}}
	c.ffmpeg = &process{t: t, name: "ffmpeg", start: func() *exec.Cmd { return exec.Command("ffmpeg", arguments...) }}
	t.Cleanup(func() {
		c.kill()
		if t.Failed() {
			t.Logf("the RTSP server said:\n%s\nffmpeg said:\n%s", c.server.output.String(), c.ffmpeg.output.String())
		}
	})
	c.start()
	return c
}

func (c *rtspCamera) url() string { return "rtsp://" + c.address + "/camera" }

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (c *rtspCamera) start() {
	c.t.Helper()
	c.server.run()
	eventually(c.t, "the RTSP server listens", func() bool {
		conn, err := net.Dial("tcp", c.address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	c.ffmpeg.run()
}

func (c *rtspCamera) kill() {
	c.server.kill()
	c.ffmpeg.kill()
}

// A camera that goes away comes back by itself, as a new session; what was counted before is still counted.
func TestRTSPComesBack(t *testing.T) {
	t.Parallel()
	camera := newCamera(t)
	up := newUp(t, "door="+camera.url())
	up.Mode, up.ExitWhenDone = "", false
	address := make(chan string, 1)
	pipe := piped(t, up, func(a net.Addr) { address <- a.String() })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- pipe.Run(ctx, io.Discard, io.Discard, quiet) }()
	url := "http://" + <-address + "/api/v1/sources"
	type source struct {
		Source  string       `json:"source"`
		Session string       `json:"session"`
		Account flow.Account `json:"account"`
	}
	door := func() (s source) {
		answer, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		var status struct {
			Sources []source `json:"sources"`
		}
		if err := json.NewDecoder(answer.Body).Decode(&status); err != nil {
			t.Fatal(err)
		}
		for _, s := range status.Sources {
			if s.Source == "door" {
				return s
			}
		}
		return source{}
	}
	eventually(t, "scenes of the camera", func() bool { return door().Account.Complete >= 20 })
	before := door()
	for begin := time.Now(); time.Since(begin) < 2*time.Second; time.Sleep(100 * time.Millisecond) {
		if now := door(); now.Session != before.Session {
			t.Fatalf("session %s became %s by itself", before.Session, now.Session)
		}
	}
	camera.kill()
	camera.start()
	eventually(t, "a new session of the camera, with scenes", func() bool {
		now := door()
		return now.Session != before.Session && now.Account.Complete >= before.Account.Complete+20
	})
	last := door()
	if err := last.Account.Check(); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("pipeline: %v", err)
	}
}
