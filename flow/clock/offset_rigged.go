//go:build rigged

package clock

import (
	"os"
	"strings"
	"time"
)

// A program that is rigged for a test stamps as one whose host's clock is off by SPATIALFLOW_RIG_CLOCK, a duration; with
// @duration behind it, only from so long after its start on, as by a clock that is set.
var (
	began         = time.Now()
	rigged, after = parseRig(os.Getenv("SPATIALFLOW_RIG_CLOCK"))
)

func parseRig(text string) (rigged, after time.Duration) {
	if text == "" {
		return 0, 0
	}
	off, since, stepped := strings.Cut(text, "@")
	rigged, err := time.ParseDuration(off)
	if err == nil && stepped {
		after, err = time.ParseDuration(since)
	}
	if err != nil {
		panic(err)
	}
	return rigged, after
}

func offset(t time.Time) time.Duration {
	if t.Sub(began) < after {
		return 0
	}
	return rigged
}
