package flow_test

import (
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
)

// Whatever the sender's clock says, what counts is how much longer a message took than the quickest of late.
func TestDelays(t *testing.T) {
	for _, skew := range []time.Duration{0, 5 * time.Minute, -5 * time.Minute} {
		var d flow.Delays
		now := time.Unix(1000, 0)
		for i, took := range []time.Duration{3 * time.Millisecond, time.Millisecond, 8 * time.Millisecond, 2 * time.Second} {
			now = now.Add(time.Second)
			want := []time.Duration{0, 0, 7 * time.Millisecond, 1999 * time.Millisecond}[i]
			if got := d.Of("cam1", now.Add(skew-took).UnixNano(), now); got != want {
				t.Errorf("skew %v: message %d was %v on its way, want %v", skew, i, got, want)
			}
		}
		if got := d.Of("cam2", now.Add(time.Hour).UnixNano(), now); got != 0 {
			t.Errorf("another sender's first message: %v", got)
		}
		for range 64 { // the clock was set
			now = now.Add(time.Second)
			d.Of("cam1", now.Add(-time.Hour).UnixNano(), now)
		}
		if got := d.Of("cam1", now.Add(-time.Hour-time.Second).UnixNano(), now); got != time.Second {
			t.Errorf("64 messages after the clock was set: %v, want 1 s", got)
		}
	}
}

func TestDelaysAreBounded(t *testing.T) {
	var d flow.Delays
	now := time.Unix(1000, 0)
	for i := range 100_000 {
		d.Of(string(rune('a'+i%26))+string(rune(i)), now.UnixNano(), now)
	}
	if n := testing.AllocsPerRun(10, func() { d.Of("aa", now.UnixNano(), now) }); n > 2 {
		t.Errorf("%v allocations for one message", n)
	}
}
