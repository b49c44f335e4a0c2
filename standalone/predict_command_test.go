package standalone

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg" // of drawings
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
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
	t.Parallel()
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
}

// What can't be told, or would destroy a picture, is refused before anything runs.
func TestPredictRefuses(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	inside := filepath.Join(folder, "inside")
	if err := os.Mkdir(inside, 0o755); err != nil {
		t.Fatal(err)
	}
	file := func(folder, name string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, grey(t, 64, 48, 90), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	one, two, again, film := file(folder, "one.jpg"), file(folder, "two.png"), file(inside, "one.png"), file(folder, "film.mp4")
	linked := filepath.Join(folder, "linked.png")
	if err := os.Symlink(one, linked); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		out      string
		pictures []string
		want     string
	}{
		"missing":                {"", []string{filepath.Join(folder, "nowhere.jpg")}, "nowhere.jpg"},
		"a folder":               {"", []string{folder}, "spatialflow watch"},
		"a film":                 {"", []string{one, film}, "film.mp4 is no JPEG"},
		"a drawing's name":       {"x.gif", []string{one}, "ends in .jpg or .png"},
		"drawn over itself":      {one, []string{one}, "take the place of a picture"},
		"drawn over by a link":   {linked, []string{one}, "take the place of a picture"},
		"drawn over in a folder": {folder, []string{one, two}, "take the place of a picture"},
		"two of one name":        {filepath.Join(folder, "drawn"), []string{one, again}, "would both be drawn to"},
	} {
		p := newPredict(t, c.pictures...)
		p.Out = c.out
		if err := p.RunPredict(t.Context(), io.Discard, quiet); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want one that says %q", name, err, c.want)
		}
	}
	if data, err := os.ReadFile(one); err != nil || !bytes.Equal(data, grey(t, 64, 48, 90)) {
		t.Errorf("a picture was changed: %v", err)
	}
}

// A gateway says of pictures what the models here say, draws them, and names broken ones.
func TestPredictAsksAGateway(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	whole, broken := filepath.Join(folder, "a.jpg"), filepath.Join(folder, "b.jpg")
	for path, data := range map[string][]byte{whole: grey(t, 320, 240, 90), broken: []byte("no picture")} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	told := func(p *Predict) string {
		var out bytes.Buffer
		if err := p.RunPredict(t.Context(), &out, quiet); !errors.Is(err, ErrPredict) || !strings.Contains(err.Error(), "1 of 2") {
			t.Errorf("one is broken: %v", err)
		}
		return out.String()
	}
	here := newPredict(t, whole, broken)
	there := newPredict(t, whole, broken)
	there.DetectModel, there.DepthModel = "", "" // its own are not asked
	there.Gateway, there.Out = running(t, nil), filepath.Join(folder, "drawn")
	mine, _, _ := strings.Cut(told(here), broken+": ")
	its, why, _ := strings.Cut(told(there), broken+": ")
	if mine != its || !strings.Contains(mine, "8 detections") || !strings.Contains(why, "JPEG") {
		t.Errorf("a gateway says\n%s%s\nand here it is\n%s", its, why, mine)
	}
	if _, err := os.Stat(filepath.Join(there.Out, "a.jpg")); err != nil {
		t.Error(err)
	}
	there.Gateway = "http://127.0.0.1:1"
	if err := there.RunPredict(t.Context(), io.Discard, quiet); err == nil || errors.Is(err, ErrPredict) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("no gateway: %v", err)
	}
}

// A gateway that has no time is asked again.
func TestPredictAsksABusyGatewayAgain(t *testing.T) {
	t.Parallel()
	says := []int{http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusTooManyRequests, http.StatusUnprocessableEntity}
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(says[asked])
		fmt.Fprintf(w, `{"detail":"answer %d"}`, asked)
		asked++
	}))
	defer server.Close()
	path := filepath.Join(t.TempDir(), "a.jpg")
	if err := os.WriteFile(path, grey(t, 64, 48, 90), 0o600); err != nil {
		t.Fatal(err)
	}
	p := newPredict(t, path)
	p.Gateway = server.URL
	var out bytes.Buffer
	if err := p.RunPredict(t.Context(), &out, quiet); !errors.Is(err, ErrPredict) || !strings.Contains(out.String(), "answer 3") {
		t.Errorf("%v\n%s", err, &out)
	}
}

// What came before the one that ends it all is told, however late it comes.
func TestInOrderUntilOneFails(t *testing.T) {
	t.Parallel()
	failed := make(chan struct{})
	work := func(ctx context.Context, n int) (int, error) {
		if n == 3 {
			close(failed)
			return 0, ErrPredict
		}
		if n > 3 {
			<-ctx.Done()
			return 0, ctx.Err()
		}
		<-failed
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		default:
			return n, nil
		}
	}
	for range 100 {
		failed = make(chan struct{})
		var told []int
		err := inOrder(t.Context(), []int{0, 1, 2, 3, 4, 5, 6}, 4, work, func(_, n int) error {
			told = append(told, n)
			return nil
		})
		if !errors.Is(err, ErrPredict) || !slices.Equal(told, []int{0, 1, 2}) {
			t.Fatalf("%v is told, and %v", told, err)
		}
	}
}
