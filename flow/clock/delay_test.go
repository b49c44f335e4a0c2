package clock_test

import (
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow/clock"
)

// delivery is a stream in simulated time, whose server's clock is skew ahead of the receiver's.
type delivery struct {
	clock.Delays
	skew time.Duration
	seq  uint64
	now  time.Time
}

// after is the delay of the next message, received so long after the one before, when it had waited for so long.
func (d *delivery) after(gap, waited time.Duration) time.Duration {
	if d.now.IsZero() {
		d.now = time.Unix(1000, 0)
	}
	d.seq++
	d.now = d.now.Add(gap)
	return d.Of(clock.Delivery{Seq: d.seq, Stored: d.now.Add(d.skew - waited), Received: d.now})
}

// Whatever the server's clock says, what counts is how much longer a message waited than the quickest of late.
func TestDelays(t *testing.T) {
	for _, skew := range []time.Duration{0, 5 * time.Minute, -5 * time.Minute} {
		d := delivery{skew: skew}
		for i, waited := range []time.Duration{3 * time.Millisecond, time.Millisecond, 8 * time.Millisecond, 2 * time.Second} {
			want := []time.Duration{0, 0, 7 * time.Millisecond, 1999 * time.Millisecond}[i]
			if got := d.after(3*time.Second, waited); got != want {
				t.Errorf("skew %v: message %d waited %v longer, want %v", skew, i+1, got, want)
			}
		}
	}
}

// A clock that is set makes messages look late for a second, or eight of them, and not at all when that can be seen.
func TestDelaysForgetAStep(t *testing.T) {
	for _, every := range []time.Duration{8 * time.Millisecond, 33 * time.Millisecond, time.Second} {
		for _, step := range []time.Duration{600 * time.Millisecond, -600 * time.Millisecond, time.Hour, -time.Hour} {
			var d delivery
			for range 200 {
				d.after(every, 5*time.Millisecond)
			}
			d.skew += step
			late := 0
			for range 200 {
				if d.after(every, 5*time.Millisecond) > 500*time.Millisecond {
					late++
				}
			}
			most := 0
			if step < 0 && -step < every { // the stamps go on, but slower: as if messages had waited
				most = 8
			}
			if late > most {
				t.Errorf("messages every %v: after a step of %v %d were late, at most %d", every, step, late, most)
			}
		}
	}
}

// After a stall what comes is late, as much as it is.
func TestDelaysSeeAStall(t *testing.T) {
	var d delivery
	for range 200 {
		d.after(20*time.Millisecond, time.Millisecond)
	}
	if got := d.after(4*time.Second, 4*time.Second); got != 4*time.Second-time.Millisecond {
		t.Errorf("the first message after a stall of 4 s is %v late", got)
	}
	if got := d.after(time.Millisecond, 3980*time.Millisecond); got != 3979*time.Millisecond {
		t.Errorf("the second is %v late", got)
	}
	if got := d.after(time.Millisecond, time.Millisecond); got != 0 {
		t.Errorf("one that is new is %v late", got)
	}
}

// A message that is delivered again is late, and no sign that a clock was set.
func TestDelaysOfMessagesDeliveredAgain(t *testing.T) {
	var d clock.Delays
	now := time.Unix(1000, 0)
	at := func(seq uint64, stored, received time.Duration) time.Duration {
		return d.Of(clock.Delivery{Seq: seq, Stored: now.Add(stored), Received: now.Add(received)})
	}
	at(1, 0, time.Millisecond)
	at(2, 10*time.Millisecond, 11*time.Millisecond)
	if got := at(1, 0, 3*time.Second); got != 3*time.Second-time.Millisecond {
		t.Errorf("delivered again after 3 s it is %v late", got)
	}
	if got := at(3, 3*time.Second, 3001*time.Millisecond); got != 0 {
		t.Errorf("the next is %v late", got)
	}
	if got := at(1, time.Hour, 4*time.Second); got != 0 { // the stream was made anew
		t.Errorf("the first of another stream is %v late", got)
	}
}

// What was learned by another connection, which may lead to another server, is forgotten.
func TestDelaysBeginAnewWithTheConnection(t *testing.T) {
	var d clock.Delays
	now := time.Unix(1000, 0)
	d.Of(clock.Delivery{Connection: 1, Seq: 1, Stored: now, Received: now})
	m := clock.Delivery{Connection: 2, Seq: 2, Stored: now.Add(time.Second), Received: now.Add(time.Minute)}
	if got := d.Of(m); got != 0 {
		t.Errorf("the first message of a new connection is %v late", got)
	}
}
