package pipeline

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/producer"
	"github.com/spatial-flow/spatial-flow/workers"
	"github.com/spatial-flow/spatial-flow/workers/models"
)

var quiet = slog.New(slog.DiscardHandler)

// patience is how long something is waited for that happens at once: no test fails because it took long.
const patience = 3 * time.Minute

// noCost is a pipeline with the models of no cost that takes n grey pictures, and ends.
func noCost(t *testing.T, n int) Config {
	t.Helper()
	var data bytes.Buffer
	if err := jpeg.Encode(&data, image.NewGray(image.Rect(0, 0, 64, 48)), nil); err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	for i := range n {
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%05d.jpg", i)), data.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Gateway = nil
	cfg.Producer.Sources, cfg.Producer.Mode, cfg.Producer.ExitWhenDone = []string{"grey=" + folder}, flow.ModeLossless, true
	for _, group := range flow.DefaultGroups() {
		var worker workers.Config
		if err := service.Defaults(&worker); err != nil {
			t.Fatal(err)
		}
		worker.Group, worker.Model, worker.ModelData, worker.DepthSize = group.Name, "no cost", models.NoCostDetect, 56
		if group.Name == flow.GroupDepth {
			worker.ModelData = models.NoCostDepth
		}
		cfg.Groups, cfg.Workers = append(cfg.Groups, group), append(cfg.Workers, worker)
	}
	return cfg
}

// eventually waits for what other goroutines do.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// A frame that was taken and never answered comes again, and in the end every frame has its scene.
func TestLostFrameComesAgain(t *testing.T) {
	t.Parallel()
	const frames = 60
	p, err := noCost(t, frames).start(t.Context(), func() {}, t.TempDir(), nil, quiet)
	if err != nil {
		t.Fatal(err)
	}
	thief, err := p.server.Connect("thief", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer thief.Close()
	taken, err := thief.TakeFrames(t.Context(), flow.GroupDetect, flow.ModeLossless, 1)
	if err != nil {
		t.Fatal(err)
	}
	stolen, err := taken.Next()
	if err != nil {
		t.Fatal(err)
	}
	if err := stolen.DoubleAck(t.Context()); err != nil { // acked, never answered
		t.Fatal(err)
	}
	taken.Stop()
	account := func() flow.Account { return p.board.Statuses()[0].Account }
	eventually(t, "all frames are scenes", func() bool { return account().Complete == frames })
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	if err := verdict(p.board.Statuses()); err != nil {
		t.Errorf("every frame has its scene, and the verdict is %v", err)
	}
}

// A frame that is still in flight at the end fails the whole, and so does a source that failed.
func TestVerdict(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		status flow.SourceStatus
		want   error
		says   string
	}{
		"balanced":  {flow.SourceStatus{State: flow.StateComplete, Account: flow.Account{Captured: 2, Admitted: 2, Complete: 2}}, nil, ""},
		"in flight": {flow.SourceStatus{State: flow.StateComplete, Account: flow.Account{Captured: 2, Admitted: 2, Complete: 1, InFlight: 1}}, flow.ErrAccount, "never became a scene"},
		"failed":    {flow.SourceStatus{Source: "cam", State: flow.StateFailed, Reason: "cut short"}, ErrSource, "cam: cut short"},
	} {
		err := verdict([]flow.SourceStatus{test.status})
		if !errors.Is(err, test.want) || (err != nil && !strings.Contains(err.Error(), test.says)) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

// When a service fails nobody finishes what is under way: the program ends at once and not after the drain.
func TestFailedServiceEndsTheProgram(t *testing.T) {
	t.Parallel()
	cfg := noCost(t, 400)
	cfg.SceneFile = "/dev/full" // fails at the first scene, with a window of frames under way
	cfg.Producer.Drain = time.Hour
	ended := make(chan error, 1)
	go func() { ended <- cfg.Run(t.Context(), io.Discard, io.Discard, quiet) }()
	select {
	case err := <-ended:
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("error %v, want that there is no space", err)
		}
	case <-time.After(patience):
		t.Fatal("it waits for the drain")
	}
}

// heldSink takes no scene before it is let go.
type heldSink struct {
	free  chan struct{}
	taken int
}

func (s *heldSink) Take(*flow.Scene) error {
	<-s.free
	s.taken++
	return nil
}

func (s *heldSink) Close() error { return nil }

// A source that failed takes no other's scenes away: whoever reads them behind gets them to the last.
func TestScenesBesideAFailedSource(t *testing.T) {
	t.Parallel()
	const frames = 60
	sink := &heldSink{free: make(chan struct{})}
	cfg := noCost(t, frames)
	cfg.Producer.Sources, cfg.Sink = append(cfg.Producer.Sources, "gone="+filepath.Join(t.TempDir(), "gone")), sink
	p, err := cfg.start(t.Context(), func() {}, t.TempDir(), nil, quiet)
	if err != nil {
		t.Fatal(err)
	}
	<-p.ended
	close(sink.free)
	if err := p.stop(); !errors.Is(err, producer.ErrSource) {
		t.Errorf("error %v, want that a source failed", err)
	}
	if sink.taken != frames {
		t.Errorf("%d scenes of %d were read", sink.taken, frames)
	}
}
