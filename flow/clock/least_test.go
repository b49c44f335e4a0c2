package clock_test

import (
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow/clock"
)

// What changes for good is the least of late within a second, or eight values.
func TestLeastForgets(t *testing.T) {
	for _, every := range []time.Duration{time.Millisecond, 33 * time.Millisecond, time.Second, time.Hour} {
		var l clock.Least
		now := time.Unix(1000, 0)
		for range 100 {
			if got := l.Of(5*time.Millisecond, now); got != 5*time.Millisecond {
				t.Fatalf("every %v: the least of 5 ms is %v", every, got)
			}
			now = now.Add(every)
		}
		changed, values := now, 0
		for ; l.Of(600*time.Millisecond, now) != 600*time.Millisecond; values++ {
			now = now.Add(every)
		}
		if values > 8 && now.Sub(changed) > 1100*time.Millisecond {
			t.Errorf("every %v: forgotten after %v and %d values", every, now.Sub(changed), values)
		}
		if got := l.Of(-time.Hour, now); got != -time.Hour {
			t.Errorf("every %v: less than ever is %v", every, got)
		}
	}
}

// A stall, in which nothing is measured, makes nothing forgotten: what comes after it is known to be late.
func TestLeastOutlivesAStall(t *testing.T) {
	var l clock.Least
	now := time.Unix(1000, 0)
	for range 100 {
		l.Of(5*time.Millisecond, now)
		now = now.Add(20 * time.Millisecond)
	}
	now = now.Add(time.Minute)
	for i := range 5 {
		if got := l.Of(time.Minute, now); got != 5*time.Millisecond {
			t.Fatalf("value %d after a stall: the least of late is %v", i+1, got)
		}
		now = now.Add(time.Millisecond)
	}
}
