package standalone

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/standalone/drawing"
)

// Scenes of what was under way when the program was asked to end are drawn too.
func TestWatchDrawsWhatWasUnderWay(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	w := &Watch{File: pictures(t, 3), Out: filepath.Join(t.TempDir(), "out.mp4")}
	var out bytes.Buffer
	shown := &show{w: w, out: &out, progress: &out, painter: drawing.NewPainter()}
	defer shown.painter.Close()
	sink, err := w.newFileSink(ctx, shown)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	for seq := range uint64(3) {
		scene := &flow.Scene{Source: "a", Session: "b", Seq: seq + 1, Width: 640, Height: 480, Outcome: flow.OutcomeComplete}
		if err := sink.Take(scene); err != nil {
			t.Fatal(err)
		}
	}
	if err := sink.Close(); err != nil {
		t.Error(err)
	}
	if err := shown.video.Close(); err != nil {
		t.Error(err)
	}
	if shown.scenes != 3 || shown.video.Frames() != 3 {
		t.Errorf("%d scenes, %d pictures, want 3", shown.scenes, shown.video.Frames())
	}
}
