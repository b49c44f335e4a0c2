package workers

import (
	"math"
	"testing"
	"time"
)

// A frame that takes 3 s keeps its slot busy in each of them, not only in the one in which it ends.
func TestLoadCountsWhatIsInHand(t *testing.T) {
	t.Parallel()
	begin := time.Unix(1000, 0)
	l, a, b := newLoad(begin), 0, 1
	at := func(seconds float64) time.Time { return begin.Add(time.Duration(seconds * float64(time.Second))) }
	want := func(seconds, rate, waitMS, busy float64) {
		t.Helper()
		r, w, u := l.since(at(seconds), 2)
		for name, pair := range map[string][2]float64{"rate": {r, rate}, "wait": {w, waitMS}, "busy": {u, busy}} {
			if math.Abs(pair[0]-pair[1]) > 1e-9 {
				t.Errorf("after %v s: %s %v, want %v", seconds, name, pair[0], pair[1])
			}
		}
	}
	l.begin(a, at(0.5))
	want(1, 0, 0, 0.25)
	l.begin(b, at(1))
	want(2, 0, 0, 1)
	want(3, 0, 0, 1)
	l.end(a, at(3.5))
	l.answered(20 * time.Millisecond)
	l.end(b, at(3.5))
	l.answered(40 * time.Millisecond)
	want(4, 2, 30, 0.5)
	l.begin(a, at(4.2))
	l.end(a, at(4.4)) // given back
	want(5, 0, 0, 0.1)
	want(6, 0, 0, 0)
}
