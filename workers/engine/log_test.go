package engine

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSayingsAreLimited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		var s sayings
		s.to(slog.New(slog.NewTextHandler(&out, nil)))
		s.to(nil) // who has no log leaves that of another
		for range 30 {
			s.say(3, "sequential_executor.cc:677", "it fails")
			time.Sleep(saidEvery / 10)
		}
		s.say(levelFatal, "here", "it ends")
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 4 {
			t.Fatalf("%d lines in 3 s, want 4:\n%s", len(lines), out.String())
		}
		for i, want := range []string{"left_out=0", "left_out=9", "left_out=9", "level=ERROR"} {
			if !strings.Contains(lines[i], want) {
				t.Errorf("%s, want %s", lines[i], want)
			}
		}
	})
}
