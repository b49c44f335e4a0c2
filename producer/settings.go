package producer

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/spatial-flow/spatial-flow/flow"
)

// settings are one source's own: what its fragment says, else the flags.
type settings struct {
	mode    flow.Mode // empty: what is usual for its kind
	fps     float64   // live: of a file, its pace, 0 its own; of a camera, at most, 0 all
	loop    bool      // live: a file begins again at its end
	quality int       // of JPEGs that are encoded here
	maxSide int       // pixels of the longer side; larger pictures are made smaller; 0: none
}

// Bounds of settings.
const (
	maxFPS  = 1000
	minSide = 32
)

// settingKeys are what a fragment may set.
var settingKeys = []string{"mode", "fps", "loop", "quality", "max_side"}

func (c Config) settings() settings {
	return settings{mode: c.Mode, fps: c.FPS, loop: c.Loop, quality: c.Quality, maxSide: c.MaxSide}
}

// with is s, changed by a fragment such as mode=live&fps=10. An error names the key.
func (s settings) with(fragment string) (settings, error) {
	values, err := url.ParseQuery(fragment)
	if err != nil {
		return s, fmt.Errorf("settings after #: %w", err)
	}
	for key, given := range values {
		value := given[len(given)-1]
		switch key {
		case "mode":
			s.mode = flow.Mode(value)
		case "fps":
			s.fps, err = strconv.ParseFloat(value, 64)
		case "loop":
			s.loop, err = strconv.ParseBool(value)
		case "quality":
			s.quality, err = strconv.Atoi(value)
		case "max_side":
			s.maxSide, err = strconv.Atoi(value)
		default:
			return s, fmt.Errorf("setting %q after #: there are %s", key, strings.Join(settingKeys, ", "))
		}
		if err != nil {
			return s, fmt.Errorf("setting %s=%s after #: %w", key, value, err)
		}
	}
	return s, s.validate()
}

func (s settings) validate() error {
	switch {
	case s.mode != "" && s.mode != flow.ModeLive && s.mode != flow.ModeLossless:
		return fmt.Errorf("mode %q is neither live nor lossless", s.mode)
	case !(s.fps >= 0 && s.fps <= maxFPS):
		return fmt.Errorf("fps %v is not 0 to %d", s.fps, maxFPS)
	case s.quality < 1 || s.quality > 100:
		return fmt.Errorf("quality %d is not 1 to 100", s.quality)
	case s.maxSide != 0 && s.maxSide < minSide:
		return fmt.Errorf("max side of %d pixels is neither 0 nor at least %d", s.maxSide, minSide)
	}
	return nil
}
