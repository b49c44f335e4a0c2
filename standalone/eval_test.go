package standalone

import (
	"errors"
	"io"
	"testing"

	"github.com/spatial-flow/spatial-flow/producer/street"
)

func TestEvalRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		e    Eval
		want error
	}{
		"no street":        {Eval{Source: "clip.avi", Seeds: 1, Frames: 1}, street.ErrParameter},
		"no seeds":         {Eval{Source: "street:", Frames: 1}, ErrUsage},
		"too few frames":   {Eval{Source: "street:", Seeds: 2, Frames: 1}, ErrUsage},
		"both groups left": {Eval{Source: "street:", Seeds: 1, Frames: 1, Models: Models{DetectModel: None, DepthModel: None}}, ErrNoModel},
	} {
		if err := test.e.Evaluate(t.Context(), io.Discard, io.Discard, quiet); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}
