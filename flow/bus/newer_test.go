package bus_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow/bus"
)

type patient struct {
	jetstream.Msg
	delay time.Duration
}

func (p *patient) NakWithDelay(d time.Duration) error { p.delay = d; return nil }

func TestNewerIsGivenBackEverLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var newer bus.Newer
		if newer.Note("fuser") != "" {
			t.Error("a note of nothing")
		}
		for deliveries, about := range map[uint64]time.Duration{0: time.Second, 1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 5: 16 * time.Second, 6: 32 * time.Second, 1 << 40: 32 * time.Second} {
			var msg patient
			newer.GiveBack(&msg, deliveries, errors.New("version 9"))
			if least, most := about/2, min(about*3/2, 30*time.Second); msg.delay < least || msg.delay > most {
				t.Errorf("delivery %d: back after %v, want %v to %v", deliveries, msg.delay, least, most)
			}
		}
		if note := newer.Note("fuser"); note != "needs a newer fuser: version 9" {
			t.Errorf("note %q", note)
		}
		time.Sleep(2 * time.Minute)
		if newer.Note("fuser") != "" {
			t.Error("the note stands when nothing waits any more")
		}
	})
}

// The log speaks of it once a minute.
func TestNewerIsToldOnceAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var newer bus.Newer
		told := 0
		for range 120 {
			if newer.GiveBack(new(patient), 1, errors.New("version 9")) {
				told++
			}
			time.Sleep(time.Second)
		}
		if told != 2 {
			t.Errorf("told %d times in two minutes", told)
		}
	})
}
