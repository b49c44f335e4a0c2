//go:build !rigged

package clock

import "time"

func offset(time.Time) time.Duration { return 0 }
