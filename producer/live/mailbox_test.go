package live

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
	"github.com/spatial-flow/spatial-flow/producer/account"
	"github.com/spatial-flow/spatial-flow/producer/source"
)

// A source that ends looks into its mailbox and then into its account: no picture may be in neither.
func TestMailboxIsHeldUntilItsPictureIsBooked(t *testing.T) {
	var m mailbox
	id := flow.FrameID{Source: "cam1", Session: "s", Seq: 1}
	if m.put(id, source.Picture{}) != nil {
		t.Fatal("an empty mailbox had a picture")
	}
	booked := false
	got, _, ok := m.take(func(of flow.FrameID, _ source.Picture) {
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
	s := NewAdmission(Config{}, nil, slog.New(slog.DiscardHandler), flow.DefaultGroups(), "")
	l := &Source{spec: source.Spec{Name: "cam"}, admission: s}
	s.join(l)
	encoding, encoded := make(chan struct{}), make(chan struct{})
	l.box.put(flow.FrameID{Source: "cam", Session: "s", Seq: 1}, source.Picture{EncodeLater: func() ([]byte, error) {
		close(encoding)
		<-encoded
		return nil, nil
	}})
	var settling sync.WaitGroup
	settling.Go(l.box.settle) // after a picture that is passed over for the camera's rate
	<-encoding
	picked := make(chan *Source, 1)
	go func() {
		l, _, _ := s.pick()
		picked <- l
	}()
	select {
	case got := <-picked:
		if got != l {
			t.Errorf("picked %v while its picture is encoded, want the source", got)
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

func (c *twoBuffers) Next(context.Context) (source.Picture, error) {
	if c.read == c.most {
		return source.Picture{}, io.EOF
	}
	c.read++
	buffer := &c.buffers[c.read%2]
	*buffer = c.read
	return source.Picture{Captured: time.Now(), EncodeLater: func() ([]byte, error) { return []byte(strconv.Itoa(*buffer)), nil }}, nil
}

func (c *twoBuffers) Skip(context.Context, uint64) error { return nil }
func (c *twoBuffers) Close() error                       { return nil }

// A picture that waits keeps its pixels while others are read and passed over for the camera's rate.
func TestCameraRateLeavesPixelsAlone(t *testing.T) {
	specs, err := source.Parse([]string{"cam=/dev/video0#fps=0.001"}, source.Settings{Quality: 90})
	if err != nil {
		t.Fatal(err)
	}
	l := New(specs[0], account.NewBoard().Add([]flow.SourceStatus{{Source: "cam", Mode: flow.ModeLive}}, "")[0], Config{},
		service.Env{Log: slog.New(slog.DiscardHandler)}, &Admission{wake: make(chan struct{}, 1)}, account.NewMetrics(prometheus.NewRegistry()))
	if err := l.capture(t.Context(), &twoBuffers{most: 5}, 0); err != nil {
		t.Fatal(err)
	}
	id, p, ok := l.box.take(func(flow.FrameID, source.Picture) {})
	if !ok || id.Seq != 1 || string(p.Data) != "1" {
		t.Errorf("%v: frame %d holds the pixels of %q", ok, id.Seq, p.Data)
	}
}
