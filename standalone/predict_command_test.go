package standalone

import (
	"bytes"
	"encoding/json"
	"errors"
	"image"
	_ "image/jpeg" // of drawings
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow/service"
)

// newPredict is `spatialflow predict` with the models of no cost.
func newPredict(t *testing.T, pictures ...string) *Predict {
	t.Helper()
	p := new(Predict)
	if err := service.Defaults(p); err != nil {
		t.Fatal(err)
	}
	p.Pictures, p.DepthSize = pictures, 56
	p.DetectModel, p.DepthModel = noCost(t)
	return p
}

// Pictures are told in their order, broken ones by name, and drawn with their heat map beside them.
func TestPredictCommand(t *testing.T) {
	folder := t.TempDir()
	odd, broken, last := filepath.Join(folder, "odd=name#fps=3.jpg"), filepath.Join(folder, "broken.jpg"), filepath.Join(folder, "last.jpg")
	for path, data := range map[string][]byte{odd: grey(t, 320, 240, 90), broken: []byte("no picture"), last: grey(t, 64, 48, 90)} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := newPredict(t, odd, broken, last)
	p.Out = filepath.Join(folder, "drawn")
	var out bytes.Buffer
	if err := p.RunPredict(t.Context(), &out, quiet); !errors.Is(err, ErrPredict) || !strings.Contains(err.Error(), "1 of 3") {
		t.Errorf("one is broken: %v", err)
	}
	text := out.String()
	first, second, third := strings.Index(text, odd+": 320x240, 8 detections"), strings.Index(text, broken+": broken.jpg: "), strings.Index(text, last+": 64x48, ")
	if first < 0 || second < first || third < second || !strings.Contains(text, "LABEL") || !strings.Contains(text, "near ") {
		t.Errorf("the tables are\n%s", text)
	}
	for name, want := range map[string]image.Point{"odd=name#fps=3.jpg": {X: 640, Y: 240}, "last.jpg": {X: 128, Y: 48}} {
		data, err := os.ReadFile(filepath.Join(p.Out, name))
		if err != nil {
			t.Error(err)
			continue
		}
		if got, _, err := image.DecodeConfig(bytes.NewReader(data)); err != nil || got.Width != want.X || got.Height != want.Y {
			t.Errorf("%s is %dx%d, %v, want %v", name, got.Width, got.Height, err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(p.Out, "broken.jpg")); err == nil {
		t.Error("a broken picture is drawn")
	}

	p = newPredict(t, last)
	p.JSON, p.Out = true, filepath.Join(folder, "one.png")
	out.Reset()
	if err := p.RunPredict(t.Context(), &out, quiet); err != nil {
		t.Fatal(err)
	}
	var line struct {
		Picture string
		Size    [2]int
		Outcome string
	}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line.Picture != last || line.Size != [2]int{64, 48} || line.Outcome != "complete" {
		t.Errorf("%s: %v", &out, err)
	}
	if _, err := os.Stat(p.Out); err != nil {
		t.Error(err)
	}
	for name, bad := range map[string]*Predict{"missing": newPredict(t, "nowhere.jpg"), "folder": newPredict(t, folder), "drawing": {Pictures: []string{last}, Out: "x.gif"}} {
		if err := bad.RunPredict(t.Context(), &out, quiet); !errors.Is(err, ErrUsage) {
			t.Errorf("%s: %v, want one that tells the way out", name, err)
		}
	}
}
