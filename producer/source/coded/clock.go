package coded

import "time"

// Jumps of a camera's clock. One that has its time set, or is started again behind a server that stays, goes anywhere.
const (
	mostStep = 5 * time.Second       // between two units, in either direction; more is a jump
	usual    = 40 * time.Millisecond // taken for the time between units across a jump
)

// Clock makes of time stamps of 32 bits, which run over, and jump, a time that does not.
type Clock struct {
	Rate int // ticks a second

	begun  bool
	before uint32
	now    time.Duration
}

// Time is when the unit with a time stamp is to be shown, since the first. Across a jump time goes on as if there were none.
func (c *Clock) Time(stamp uint32) time.Duration {
	if c.begun {
		step := time.Duration(int32(stamp-c.before)) * time.Second / time.Duration(c.Rate)
		if step > mostStep || step < -mostStep {
			step = usual
		}
		c.now += step
	}
	c.begun, c.before = true, stamp
	return c.now
}
