package producer_test

import (
	"bytes"
	"image/jpeg"
	"os"
	"path/filepath"
	"testing"

	"gocv.io/x/gocv"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/natsserver/natstest"
)

// noise is a folder with a picture that JPEG can't make small.
func noise(t *testing.T) string {
	t.Helper()
	mat := gocv.NewMatWithSize(900, 1200, gocv.MatTypeCV8UC3)
	defer mat.Close()
	gocv.RandU(&mat, gocv.NewScalar(0, 0, 0, 0), gocv.NewScalar(255, 255, 255, 0))
	buffer, err := gocv.IMEncodeWithParams(gocv.JPEGFileExt, mat, []int{gocv.IMWriteJpegQuality, 95})
	if err != nil {
		t.Fatal(err)
	}
	defer buffer.Close()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "noise.jpg"), buffer.GetBytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A server that takes smaller messages gets smaller pictures, in both modes.
func TestSmallPayload(t *testing.T) {
	t.Parallel()
	const payload = 256 << 10
	cluster := natstest.Start(t, natstest.Options{Servers: 1, MaxPayload: payload})
	b := bench{connect: func() (*bus.Bus, error) { return cluster.Connect(t, "producer"), nil }, bus: cluster.Connect(t, "test")}
	until(t, "it is provisioned", func() bool { return b.bus.Provision(t.Context(), flow.DefaultDeployment()) == nil })
	f := b.fuse(t, &fuser{})
	accepted, err := b.bus.Conn().SubscribeSync("accepted.live.>")
	if err != nil {
		t.Fatal(err)
	}
	dir := noise(t)
	l := b.start(t, nil, "p="+dir, "live="+dir+"#mode=live&loop=true")
	until(t, "the film has ended", func() bool { return len(l.board.Statuses()) > 0 && l.board.Statuses()[0].State == flow.StateComplete })
	frames, _ := f.accepted("p")
	msg, err := accepted.NextMsg(patience)
	if err != nil {
		t.Fatal(err)
	}
	live := new(flow.Frame)
	if err := flow.Decode(msg.Data, live); err != nil {
		t.Fatal(err)
	}
	for _, frame := range append(frames, live) {
		config, err := jpeg.DecodeConfig(bytes.NewReader(frame.Picture))
		if err != nil || len(frame.Picture) > payload || config.Width != frame.Width || config.Height != frame.Height || frame.Width >= 1200 {
			t.Errorf("%s: %d bytes, %dx%d, said to be %dx%d, %v", frame.Source, len(frame.Picture), config.Width, config.Height, frame.Width, frame.Height, err)
		}
	}
	l.stop()
}
