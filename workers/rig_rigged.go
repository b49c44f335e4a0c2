//go:build rigged

package workers

import (
	"os"
	"time"
)

// rig makes each frame of a program that is rigged for a test take SPATIALFLOW_RIG_WORK longer, without computing.
func rig() {
	if work, err := time.ParseDuration(os.Getenv("SPATIALFLOW_RIG_WORK")); err == nil {
		time.Sleep(work)
	}
}
