package street

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// ErrParameter is returned when a parameter of a street is unknown or out of its range.
var ErrParameter = errors.New("bad street parameter")

// Scheme is what a street's URI begins with.
const Scheme = "street:"

// Bounds and defaults of a street's parameters.
const (
	MinWidth, MaxWidth   = 64, 3840 // pixels
	MinHeight, MaxHeight = 64, 2160 // pixels
	MinFPS, MaxFPS       = 1, 240   // frames per second
	defaultSeed          = 1
	defaultFPS           = 30
	defaultWidth         = 640
	defaultHeight        = 360
)

// Split says from which pools textures, clothes and camera heights are drawn, so that a network can be judged on what
// it was not trained with.
type Split string

// The splits. Train and HeldOut have nothing in common; All draws from both.
const (
	Train   Split = "train"
	HeldOut Split = "held-out"
	All     Split = "all"
)

// Config describes a street. Equal ones render equal frames.
type Config struct {
	Seed   uint64  `json:"seed"`
	FPS    float64 `json:"fps"`    // frames per second, 1 to 240
	Width  int     `json:"width"`  // pixels, 64 to 3840
	Height int     `json:"height"` // pixels, 64 to 2160
	Split  Split   `json:"split"`
}

// DefaultConfig is the street of the URI "street:".
func DefaultConfig() Config {
	return Config{Seed: defaultSeed, FPS: defaultFPS, Width: defaultWidth, Height: defaultHeight, Split: All}
}

// Validate returns [ErrParameter], naming the parameter and the fix, when one is out of its range.
func (c Config) Validate() error {
	switch {
	case math.IsNaN(c.FPS) || c.FPS < MinFPS || c.FPS > MaxFPS:
		return fmt.Errorf("%w: fps %v: give %d to %d frames per second", ErrParameter, c.FPS, MinFPS, MaxFPS)
	case c.Width < MinWidth || c.Width > MaxWidth || c.Height < MinHeight || c.Height > MaxHeight:
		return fmt.Errorf("%w: size %dx%d: give %dx%d to %dx%d pixels", ErrParameter, c.Width, c.Height, MinWidth, MinHeight, MaxWidth, MaxHeight)
	case c.Split != Train && c.Split != HeldOut && c.Split != All:
		return fmt.Errorf("%w: split %q: give %s, %s or %s", ErrParameter, c.Split, Train, HeldOut, All)
	}
	return nil
}

// Parse reads a URI such as street:?seed=7&fps=30&size=640x360&split=all; what it leaves out has its default. Errors
// are [ErrParameter]; they name the parameter and the fix.
func Parse(uri string) (Config, error) {
	cfg := DefaultConfig()
	rest, ok := strings.CutPrefix(uri, Scheme)
	path, query, _ := strings.Cut(rest, "?")
	if !ok || path != "" {
		return cfg, fmt.Errorf("%w: %q: write street:?seed=7&fps=30&size=640x360&split=all", ErrParameter, uri)
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return cfg, fmt.Errorf("%w: %q: %w: write street:?seed=7&fps=30", ErrParameter, uri, err)
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names) // so that the first error is always the same
	for _, name := range names {
		if len(values[name]) > 1 {
			return cfg, fmt.Errorf("%w: %s is given %d times: give it once", ErrParameter, name, len(values[name]))
		}
		if err := cfg.set(name, values[name][0]); err != nil {
			return cfg, err
		}
	}
	return cfg, cfg.Validate()
}

// set takes one parameter.
func (c *Config) set(name, value string) error {
	switch name {
	case "seed":
		seed, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return fmt.Errorf("%w: seed %q: give a whole number from 0 to 2^64-1", ErrParameter, value)
		}
		c.Seed = seed
	case "fps":
		fps, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return fmt.Errorf("%w: fps %q: give %d to %d frames per second", ErrParameter, value, MinFPS, MaxFPS)
		}
		c.FPS = fps
	case "size":
		width, height, err := ParseSize(value)
		if err != nil {
			return err
		}
		c.Width, c.Height = width, height
	case "split":
		c.Split = Split(value)
	default:
		return fmt.Errorf("%w: there is no %q: a street has seed, fps, size and split", ErrParameter, name)
	}
	return nil
}

// ParseSize reads WIDTHxHEIGHT in pixels. [ErrParameter] is returned when it is no size; its range is not checked.
func ParseSize(value string) (width, height int, err error) {
	w, h, found := strings.Cut(value, "x")
	width, errWidth := strconv.Atoi(w)
	height, errHeight := strconv.Atoi(h)
	if !found || errWidth != nil || errHeight != nil {
		return 0, 0, fmt.Errorf("%w: size %q: give WIDTHxHEIGHT in pixels, such as %dx%d", ErrParameter, value, defaultWidth, defaultHeight)
	}
	return width, height, nil
}

// URI is what [Parse] reads this configuration from.
func (c Config) URI() string {
	return fmt.Sprintf("%s?seed=%d&fps=%s&size=%dx%d&split=%s", Scheme, c.Seed, strconv.FormatFloat(c.FPS, 'g', -1, 64), c.Width, c.Height, c.Split)
}
