package pace_test

import (
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/gateway/live/pace"
)

// link is what a viewer's link bears, in bytes per second, of pictures that are so large when they are 1280 wide.
type link struct {
	pace     pace.Pace
	now      time.Time
	bears    float64
	at1280   float64
	whole    float64 // bytes of the picture as it is
	interval time.Duration
}

// pass sends pictures for so long.
func (l *link) pass(during time.Duration) {
	for until := l.now.Add(during); l.now.Before(until); {
		size := l.whole
		if width := float64(l.pace.Width()); width > 0 {
			size = min(size, l.at1280*(width/1280)*(width/1280))
		}
		took := time.Duration(size / l.bears * float64(time.Second))
		l.now = l.now.Add(max(took, l.interval))
		l.pace.Wrote(l.now, took)
	}
}

func TestPace(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		bears float64
		width int // after a minute
	}{
		{"local network", 100e6, 0},
		{"bears it just so", 8e6, 0},
		{"3 Mbit/s", 375e3, 320},
		{"a telephone at the edge", 20e3, 160},
	} {
		l := &link{now: time.Unix(0, 0), bears: test.bears, whole: 500e3, at1280: 300e3, interval: 100 * time.Millisecond}
		l.pass(time.Minute)
		if l.pace.Width() != test.width {
			t.Errorf("%s: %d wide after a minute, want %d", test.name, l.pace.Width(), test.width)
		}
	}
}

func TestPaceFollowsTheLink(t *testing.T) {
	t.Parallel()
	l := &link{now: time.Unix(0, 0), bears: 100e3, whole: 500e3, at1280: 300e3, interval: 100 * time.Millisecond}
	l.pass(20 * time.Second)
	if l.pace.Width() != 160 {
		t.Fatalf("%d wide over a slow link", l.pace.Width())
	}
	l.bears = 100e6
	l.pass(2 * time.Minute)
	if l.pace.Width() != 0 {
		t.Errorf("%d wide over a link that is quick now", l.pace.Width())
	}
}

// A link that bears the small ones easily, but not the next larger, is tried ever more seldom.
func TestPaceDoesNotSwing(t *testing.T) {
	t.Parallel()
	l := &link{now: time.Unix(0, 0), bears: 100e6, whole: 12e6, at1280: 1e6, interval: 100 * time.Millisecond}
	l.pass(10 * time.Second) // 1280 wide it is busy for a tenth of the time, as they are for all of it
	changes, before := 0, l.pace.Width()
	for range 60 * 30 {
		l.pass(time.Second)
		if width := l.pace.Width(); width != before {
			changes++
			before = width
		}
	}
	if changes > 40 {
		t.Errorf("pictures changed their size %d times in half an hour", changes)
	}
}
