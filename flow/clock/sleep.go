package clock

import (
	"context"
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
