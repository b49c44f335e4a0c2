package source

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/producer/source/coded"
)

// Settings are one source's own: what its fragment says, else the flags.
type Settings struct {
	Mode    flow.Mode // empty: what is usual for its kind
	FPS     float64   // live: of a file, its pace, 0 its own; of a camera, at most, 0 all, of snapshots 1
	Loop    bool      // live: a file begins again at its end
	Quality int       // of JPEGs that are encoded here
	MaxSide int       // pixels of the longer side; larger pictures are made smaller; 0: none
	Watch   bool      // of a folder: files that come later are taken too, and it has no end

	// Of cameras on the network.
	Decode coded.Decode // which pictures are decoded; empty: auto
	Trust  bool         // any TLS certificate will do
}

// Bounds of settings.
const (
	MaxFPS  = 1000
	minSide = 32
)

// settingKeys are what a fragment may set.
var settingKeys = []string{"mode", "fps", "loop", "quality", "max_side", "watch", "decode", "verify"}

// with is s, changed by a fragment such as mode=live&fps=10. An error names the key.
func (s Settings) with(fragment string) (Settings, error) {
	values, err := url.ParseQuery(fragment)
	if err != nil {
		return s, fmt.Errorf("settings after #: %w", err)
	}
	for key, given := range values {
		value := given[len(given)-1]
		switch key {
		case "mode":
			s.Mode = flow.Mode(value)
		case "fps":
			s.FPS, err = strconv.ParseFloat(value, 64)
		case "loop":
			s.Loop, err = strconv.ParseBool(value)
		case "quality":
			s.Quality, err = strconv.Atoi(value)
		case "watch":
			s.Watch, err = strconv.ParseBool(value)
		case "max_side":
			s.MaxSide, err = strconv.Atoi(value)
		case "decode":
			s.Decode = coded.Decode(value)
		case "verify":
			var verify bool
			verify, err = strconv.ParseBool(value)
			s.Trust = !verify
		default:
			return s, fmt.Errorf("setting %q after #: there are %s", key, strings.Join(settingKeys, ", "))
		}
		if err != nil {
			return s, fmt.Errorf("setting %s=%s after #: %w", key, value, err)
		}
	}
	return s, s.Validate()
}

func (s Settings) Validate() error {
	switch {
	case s.Mode != "" && s.Mode != flow.ModeLive && s.Mode != flow.ModeLossless:
		return fmt.Errorf("mode %q is neither live nor lossless", s.Mode)
	case s.Decode != "" && s.Decode != coded.DecodeAuto && s.Decode != coded.DecodeAll && s.Decode != coded.DecodeKeys:
		return fmt.Errorf("decode %q is neither auto, all nor keys", s.Decode)
	case !(s.FPS >= 0 && s.FPS <= MaxFPS):
		return fmt.Errorf("fps %v is not 0 to %d", s.FPS, MaxFPS)
	case s.Quality < 1 || s.Quality > 100:
		return fmt.Errorf("quality %d is not 1 to 100", s.Quality)
	case s.MaxSide != 0 && s.MaxSide < minSide:
		return fmt.Errorf("max side of %d pixels is neither 0 nor at least %d", s.MaxSide, minSide)
	}
	return nil
}
