package standalone

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/natsserver/natstest"
	"github.com/spatial-flow/spatial-flow/flow/provision"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/fuser"
	"github.com/spatial-flow/spatial-flow/gateway"
	"github.com/spatial-flow/spatial-flow/gateway/smoke"
	"github.com/spatial-flow/spatial-flow/producer"
	"github.com/spatial-flow/spatial-flow/standalone/pipeline"
	"github.com/spatial-flow/spatial-flow/workers"
	"github.com/spatial-flow/spatial-flow/workers/models"
)

// asProgram makes the test binary be spatialflow, or the service that it names, so that tests kill real processes.
const asProgram = "SPATIALFLOW_TEST_PROGRAM"

func TestMain(m *testing.M) {
	natstest.Main()
	switch os.Getenv(asProgram) {
	case "":
		goleak.VerifyTestMain(m, goleak.Cleanup(withFixtures()))
	case "producer":
		service.Main("producer", "", producer.Run)
	case "worker":
		service.Main("worker", "", workers.Run)
	case "fuser":
		service.Main("fuser", "", fuser.Run)
	case "gateway":
		service.Main("gateway", "", gateway.Run)
	case "smoke":
		smoke.Main()
	case "provision":
		provision.Main()
	case "rtsp":
		serveRTSP(os.Args[1])
	default:
		Main(os.Args[1:])
	}
}

// program is spatialflow as a process of its own.
func program(t *testing.T, arguments ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	command := exec.Command(os.Args[0], arguments...)
	command.Env = append(os.Environ(), asProgram+"=1")
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	return command, &output
}

// noCost writes the models of no cost into a folder of the test.
func noCost(t testing.TB) (detect, depth string) {
	t.Helper()
	folder := t.TempDir()
	detect, depth = filepath.Join(folder, "nocost_detect.onnx"), filepath.Join(folder, "nocost_depth.onnx")
	for path, data := range map[string][]byte{detect: models.NoCostDetect, depth: models.NoCostDepth} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return detect, depth
}

// pictures makes a folder "stripes" of n grey pictures of 640x480, brighter to the right.
func pictures(t testing.TB, n int) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "stripes")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	grey := image.NewGray(image.Rect(0, 0, 640, 480))
	for x := range 640 {
		for y := range 480 {
			grey.SetGray(x, y, color.Gray{Y: uint8(60 + x/10)})
		}
	}
	var data bytes.Buffer
	if err := jpeg.Encode(&data, grey, nil); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%05d.jpg", i)), data.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// newUp is `spatialflow up` with the models of no cost, on free ports.
func newUp(t testing.TB, sources ...string) *Up {
	t.Helper()
	up := new(Up)
	if err := service.Defaults(up); err != nil {
		t.Fatal(err)
	}
	up.DetectModel, up.DepthModel = noCost(t)
	up.Sources, up.Mode, up.ExitWhenDone = sources, flow.ModeLossless, true
	up.DepthSize, up.HTTP, up.Admin = 56, "127.0.0.1:0", ""
	return up
}

// piped is what up runs, which tells the address of its page.
func piped(t testing.TB, up *Up, listening func(net.Addr)) pipeline.Config {
	t.Helper()
	cfg, err := up.pipeline()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Gateway.Listening = listening
	return cfg
}

var quiet = slog.New(slog.DiscardHandler)

// lines reads a scene file, and fails when a scene is missing, there twice, or out of order.
func lines(t *testing.T, path string) []api.Scene {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var scenes []api.Scene
	last := map[string]uint64{}
	for reader := bufio.NewScanner(file); reader.Scan(); {
		var scene api.Scene
		if err := json.Unmarshal(reader.Bytes(), &scene); err != nil {
			t.Fatalf("%s, line %d: %v", path, len(scenes)+1, err)
		}
		if scene.Frame.Seq != last[scene.Frame.Source]+1 {
			t.Fatalf("%s, line %d: scene %s after %d", path, len(scenes)+1, scene.Frame, last[scene.Frame.Source])
		}
		last[scene.Frame.Source] = scene.Frame.Seq
		scenes = append(scenes, scene)
	}
	return scenes
}

// patience is how long something is waited for that happens at once, or within seconds: on a machine that has much else
// to do. No test fails because it took long.
const patience = 3 * time.Minute

// eventually waits for what another process does.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func readJSON(t *testing.T, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

// What is typed may hold a camera's password; nothing that is said quotes it.
func TestPasswordsAreNotQuoted(t *testing.T) {
	t.Parallel()
	for _, arguments := range [][]string{
		{"up", "rtsp://admin:S3cr/et@127.0.0.1:9/live"},
		{"up", "--source", "rtsp:/admin:S3cr#et=1@127.0.0.1:9/live"},
		{"up", "--source", "rtsp//admin:S3cr?et@127.0.0.1:9/live"},
		{"up", "--source-file", "rtsp://admin:S3cret@h/s"},
		{"up", "--frames", "rtsp://admin:S3cret@h/s"},
		{"predict", "rtsp://admin:S3cr/et@127.0.0.1:9/live"},
		{"predict", "rtsp//admin:S3cr/et@127.0.0.1:9/live"},
		{"watch", "rtsp:/admin:S3cr/et@127.0.0.1:9/live"},
		{"watch", "--gateway", "http://admin:S3cret@127.0.0.1:9/"},
		{"eval", "--source", "rtsp://admin:S3cret@h/s"},
	} {
		command, output := program(t, arguments...)
		if err := command.Run(); err == nil || strings.Contains(output.String(), "S3cr") {
			t.Errorf("%q: %v: %s", arguments, err, output.String())
		}
	}
}
