package producer

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/service"
)

// A source that ends looks into its mailbox and then into its account: no picture may be in neither.
func TestMailboxIsHeldUntilItsPictureIsBooked(t *testing.T) {
	var m mailbox
	id := flow.FrameID{Source: "cam1", Session: "s", Seq: 1}
	if m.put(id, picture{}) != nil {
		t.Fatal("an empty mailbox had a picture")
	}
	booked := false
	got, _, ok := m.take(func(of flow.FrameID, _ picture) {
		booked = of == id
		if m.mu.TryLock() {
			t.Error("the mailbox is free before its picture is booked")
		}
	})
	if !ok || got != id || !booked {
		t.Fatalf("took %v, %v, booked %v", got, ok, booked)
	}
	if m.fresh() || m.empty(0) != nil {
		t.Error("the picture is there still")
	}
}

// twoBuffers is a camera that reads into two buffers in turns, as video does.
type twoBuffers struct {
	read, most int
	buffers    [2]int
}

func (c *twoBuffers) Next(context.Context) (picture, error) {
	if c.read == c.most {
		return picture{}, io.EOF
	}
	c.read++
	buffer := &c.buffers[c.read%2]
	*buffer = c.read
	return picture{captured: time.Now(), encodeLater: func() ([]byte, error) { return []byte(strconv.Itoa(*buffer)), nil }}, nil
}

func (c *twoBuffers) Skip(context.Context, uint64) error { return nil }
func (c *twoBuffers) Close() error                       { return nil }

// A picture that waits keeps its pixels while others are read and passed over for the camera's rate.
func TestCameraRateLeavesPixelsAlone(t *testing.T) {
	device := 0
	s := spec{name: "cam", device: &device, settings: settings{mode: flow.ModeLive, fps: 1e-3}}
	l := newLive(s, NewBoard().add([]spec{s}, "")[0], Config{}, service.Env{Log: slog.New(slog.DiscardHandler)},
		&selection{wake: make(chan struct{}, 1)}, newMetrics(prometheus.NewRegistry()))
	if err := l.capture(t.Context(), &twoBuffers{most: 5}); err != nil {
		t.Fatal(err)
	}
	id, p, ok := l.box.take(func(flow.FrameID, picture) {})
	if !ok || id.Seq != 1 || string(p.data) != "1" {
		t.Errorf("%v: frame %d holds the pixels of %q", ok, id.Seq, p.data)
	}
}
