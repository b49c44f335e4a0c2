package depth

import (
	"errors"
	"strings"
	"testing"

	"github.com/spatial-flow/spatial-flow/workers/engine"
	"github.com/spatial-flow/spatial-flow/workers/model"
	"github.com/spatial-flow/spatial-flow/workers/models"
)

func TestShape(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name                string
		width, height, size int
		wantWidth, wantHigh int
		says                string // of the error
	}{
		{"16:9", 1920, 1080, 518, 924, 518, ""},
		{"the longest", 6000, 1000, 518, 3108, 518, ""},
		{"a banner", 1000, 100, 518, 0, 0, "at most 6 times longer than wide"},
		{"a tower", 1, 200, 28, 0, 0, "at most 6 times longer than wide"},
		{"a side of too many samples", 1000, 400, 2048, 0, 0, "smaller --depth-size"},
		{"too many samples", 1080, 1920, 2048, 0, 0, "smaller --depth-size"},
	} {
		m := &Model{description: model.Description{Input: model.Input{Size: test.size, Multiple: patch}}}
		height, width, err := m.Shape(test.width, test.height)
		if test.says == "" && (err != nil || width != test.wantWidth || height != test.wantHigh) {
			t.Errorf("%s: %dx%d, %v, want %dx%d", test.name, width, height, err, test.wantWidth, test.wantHigh)
		}
		if test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)) {
			t.Errorf("%s: %v, want an error that says %q", test.name, err, test.says)
		}
	}
	if height, width, err := (&Model{description: model.Description{Input: model.Input{Width: 252, Height: 252}}}).Shape(1, 1000); width != 252 || height != 252 || err != nil {
		t.Errorf("a model of fixed size: %dx%d, %v", width, height, err)
	}
}

// A size at which every picture would be refused is refused at the start.
func TestSizeThatIsTooLargeForAll(t *testing.T) {
	t.Parallel()
	graph, err := engine.Read(engine.File{Name: "nocost_depth.onnx", Data: models.NoCostDepth})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(graph, Settings{Size: 2045, Bits: 10}); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "smaller --depth-size") {
		t.Errorf("%v, want ErrUnsupported", err)
	}
	m, err := Open(graph, Settings{Size: 2044, Bits: 10})
	if err != nil || len(m.FirstShapes()) != 1 {
		t.Errorf("a square fits: %v", err)
	}
}
