package street_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/spatial-flow/spatial-flow/producer/street"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]street.Config{
		"street:":        {Seed: 1, FPS: 30, Width: 640, Height: 360, Split: street.All},
		"street:?seed=7": {Seed: 7, FPS: 30, Width: 640, Height: 360, Split: street.All},
		"street:?seed=18446744073709551615&fps=12.5&size=64x2160&split=held-out": {Seed: math.MaxUint64, FPS: 12.5, Width: 64, Height: 2160, Split: street.HeldOut},
		"street:?split=train&fps=240&size=3840x64":                               {Seed: 1, FPS: 240, Width: 3840, Height: 64, Split: street.Train},
	} {
		got, err := street.Parse(uri)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", uri, got, err)
		}
		if again, err := street.Parse(got.URI()); err != nil || again != got {
			t.Errorf("%s: written as %s and read as %+v, %v", uri, got.URI(), again, err)
		}
	}
}

// TestParseRefuses wants every refusal to name the parameter and what to give instead.
func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for uri, says := range map[string][]string{
		"":                           {"street:?seed=7"},
		"avenue:":                    {"street:?seed=7"},
		"street://host":              {"street:?seed=7"},
		"street:main":                {"street:?seed=7"},
		"street:?seed=1;fps=2":       {"street:?seed=7"},
		"street:?seed=-1":            {"seed", "whole number"},
		"street:?seed=x":             {"seed", "whole number"},
		"street:?seed=":              {"seed", "whole number"},
		"street:?seed=1&seed=2":      {"seed", "once"},
		"street:?fps=0":              {"fps", "1 to 240"},
		"street:?fps=241":            {"fps", "1 to 240"},
		"street:?fps=NaN":            {"fps", "1 to 240"},
		"street:?fps=fast":           {"fps", "1 to 240"},
		"street:?size=63x360":        {"size", "64x64 to 3840x2160"},
		"street:?size=640x2161":      {"size", "64x64 to 3840x2160"},
		"street:?size=640":           {"size", "WIDTHxHEIGHT"},
		"street:?size=axb":           {"size", "WIDTHxHEIGHT"},
		"street:?split=test":         {"split", "train, held-out or all"},
		"street:?sed=7":              {"sed", "seed, fps, size and split"},
		"street:?seed=7&Split=train": {"Split", "seed, fps, size and split"},
	} {
		_, err := street.Parse(uri)
		if !errors.Is(err, street.ErrParameter) {
			t.Errorf("%s: %v, want ErrParameter", uri, err)
			continue
		}
		for _, part := range says {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q doesn't say %q", uri, err, part)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"street:", "street:?seed=7&fps=30&size=640x360&split=all", "street:?%", "street:?size=x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		cfg, err := street.Parse(uri)
		if err != nil {
			if !errors.Is(err, street.ErrParameter) {
				t.Errorf("%q: %v is no ErrParameter", uri, err)
			}
			return
		}
		if err := cfg.Validate(); err != nil {
			t.Errorf("%q: %v", uri, err)
		}
		if again, err := street.Parse(cfg.URI()); err != nil || again != cfg {
			t.Errorf("%q: written as %s and read as %+v, %v", uri, cfg.URI(), again, err)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	if _, err := street.New(street.Config{}); !errors.Is(err, street.ErrParameter) {
		t.Errorf("an empty configuration: %v, want ErrParameter", err)
	}
	s, err := street.New(street.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Render(street.MaxFrames, new(street.Frame)); !errors.Is(err, street.ErrParameter) {
		t.Errorf("a frame after the last: %v, want ErrParameter", err)
	}
	if err := s.Render(0, nil); !errors.Is(err, street.ErrParameter) {
		t.Errorf("no frame: %v, want ErrParameter", err)
	}
}
