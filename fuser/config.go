package fuser

import (
	"errors"
	"fmt"
	"time"

	"github.com/spatial-flow/spatial-flow/fuser/partition"
)

// Config is the fuser's settings.
type Config struct {
	Sessions int           `default:"1024" help:"Sessions and cameras that a partition knows at once."`
	MaxBytes int64         `default:"67108864" help:"Bytes of results, of each mode, that a partition keeps until their scenes are stored."`
	Prefetch int           `default:"32" help:"Results of a group that may be on their way to a partition at once, in each mode."`
	HeldMax  time.Duration `default:"2s" help:"Oldest depth map, by capture, that gives a live frame without one its nearness; 0: none does."`
}

// Validate returns an error that names the flag that is out of its range.
func (c Config) Validate() error {
	if c.Sessions < 1 || c.MaxBytes < 1 || c.Prefetch < 1 {
		return errors.New("fuser: --sessions, --max-bytes and --prefetch must be at least 1")
	}
	if c.HeldMax < 0 {
		return fmt.Errorf("fuser: --held-max %v is below 0", c.HeldMax)
	}
	return nil
}

func (c Config) limits() partition.Limits {
	return partition.Limits{Sources: c.Sessions, Bytes: c.MaxBytes, Prefetch: c.Prefetch, HeldMax: c.HeldMax}
}
