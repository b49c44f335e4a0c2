package partition

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

type patient struct {
	jetstream.Msg
	delay time.Duration
}

func (p *patient) NakWithDelay(d time.Duration) error { p.delay = d; return nil }

func TestNewerIsGivenBackEverLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var newer Newer
		if newer.Note() != "" {
			t.Error("a note of nothing")
		}
		for deliveries, want := range map[uint64]time.Duration{1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 5: 16 * time.Second, 6: 30 * time.Second, 1 << 40: 30 * time.Second} {
			var msg patient
			newer.GiveBack(&msg, deliveries, silent(), errors.New("too new"))
			if msg.delay != want {
				t.Errorf("delivery %d: back after %v, want %v", deliveries, msg.delay, want)
			}
		}
		if newer.Note() != NewerNote {
			t.Errorf("note %q", newer.Note())
		}
		time.Sleep(2 * time.Minute)
		if newer.Note() != "" {
			t.Error("the note stands when nothing waits any more")
		}
	})
}
