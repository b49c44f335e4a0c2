package producer

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"sync"
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

// Whoever encodes holds the mailbox, for as long as that takes. The selection looks into all mailboxes, and callbacks of
// NATS wait for the selection: neither may wait for an encoder.
func TestSelectionWaitsForNoEncoder(t *testing.T) {
	s := newSelection(Config{}, nil, slog.New(slog.DiscardHandler), flow.DefaultGroups())
	l := &live{spec: spec{name: "cam"}, selection: s}
	s.join(l)
	encoding, encoded := make(chan struct{}), make(chan struct{})
	l.box.put(flow.FrameID{Source: "cam", Session: "s", Seq: 1}, picture{encodeLater: func() ([]byte, error) {
		close(encoding)
		<-encoded
		return nil, nil
	}})
	var settling sync.WaitGroup
	settling.Go(l.box.settle) // after a picture that is passed over for the camera's rate
	<-encoding
	picked := make(chan *live, 1)
	go func() {
		source, _, _ := s.pick()
		picked <- source
	}()
	select {
	case source := <-picked:
		if source != l {
			t.Errorf("picked %v while its picture is encoded, want the source", source)
		}
	case <-time.After(10 * time.Second): // for ever, as long as it is encoded
		t.Error("the selection, whose lock a done needs, waits for the encoder")
	}
	close(encoded)
	settling.Wait()
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
