package producer_test

import (
	"errors"
	"image"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/producer"
)

// Files that come into a watched folder are frames, which say which file they are of, until a stop.
func TestWatchedFolder(t *testing.T) {
	t.Parallel()
	b, dir := newBench(t), t.TempDir()
	b.fuse(t, &fuser{})
	accepted, err := b.bus.Conn().SubscribeSync("accepted.lossless.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a.heic"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l := b.start(t, nil, "in="+dir+"#watch=true")
	for i, name := range []string{"b.jpg", "a.jpg", "caf\xe9 50%.jpg"} {
		path := filepath.Join(t.TempDir(), "whole")
		writeJPEG(t, path, image.NewGray(image.Rect(0, 0, 32, 16)))
		if err := os.Rename(path, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		msg, err := accepted.NextMsg(patience)
		if err != nil {
			t.Fatal(err)
		}
		var f flow.Frame
		if err := errors.Join(flow.Decode(msg.Data, &f), f.Validate()); err != nil || f.Seq != uint64(i)+1 || f.File != flow.FileName(name) {
			t.Errorf("%q: frame %d of %q, %v", name, f.Seq, f.File, err)
		}
	}
	s := l.stop()[0]
	if err := s.Account.CheckAtRest(); err != nil || s.State != flow.StateStopped || s.Account.Complete != 3 || s.Note != "1 file passed over: 1 .heic" {
		t.Errorf("%+v, %v", s, err)
	}
	if !strings.Contains(l.log.String(), "1 .heic") {
		t.Error("the log does not say what was passed over")
	}
}

// A picture's number in a watched folder is its turn to come: no run can go on with it.
func TestWatchedFolderHasNoRun(t *testing.T) {
	t.Parallel()
	cfg := producer.Config{Capture: producer.Capture{Sources: []string{t.TempDir() + "#watch=true"}, Run: "r"}}
	if err := cfg.Validate(); !errors.Is(err, producer.ErrConfig) {
		t.Error(err)
	}
}
