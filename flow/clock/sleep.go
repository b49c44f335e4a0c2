package clock

import (
	"context"
	"math/rand/v2"
	"time"
)

// Sleep waits for d, or until ctx ends: then it returns false.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Jitter is a random time between half of d, which is above 0, and one and a half of it: what fails for many at once is not
// tried again by all of them at once.
func Jitter(d time.Duration) time.Duration { return d/2 + rand.N(d) }
