package clock

import "time"

const (
	leastFor   = 500 * time.Millisecond // that a period of Least takes, at least,
	leastCount = 4                      // and so many values, so that an idle time is not forgetting
)

// Least is the least of what was measured lately: in this period and the one before it. A period lasts 500 ms and at
// least four values, so that what changed for good is forgotten within a second or eight values, and a stall, in which
// nothing is measured, makes nothing forgotten. Its zero value is ready; it is not safe for concurrent use.
type Least struct {
	least, before time.Duration // of this period, and of the one before
	count         int           // of values in this period
	periods       int           // begun: 0, 1, or 2 for more
	began         time.Time     // this period
}

// Of is the least of late, of which one more value is, measured at a time of this host.
func (l *Least) Of(value time.Duration, at time.Time) time.Duration {
	if l.periods == 0 || l.count >= leastCount && at.Sub(l.began) >= leastFor {
		l.before, l.least, l.count, l.began = l.least, value, 0, at
		l.periods = min(l.periods+1, 2)
	}
	l.count++
	l.least = min(l.least, value)
	if l.periods < 2 {
		return l.least
	}
	return min(l.least, l.before)
}
