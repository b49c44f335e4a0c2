package dataset_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/spatial-flow/spatial-flow/producer/street"
	"github.com/spatial-flow/spatial-flow/producer/street/dataset"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// config is a data set that is quick to write.
func config(t *testing.T) dataset.Config {
	t.Helper()
	return dataset.Config{
		Out: filepath.Join(t.TempDir(), "set"), Frames: 7, Seed: 11, PerSeed: 3, Step: 500 * time.Millisecond,
		Split: street.Train, Width: 256, Height: 144,
	}
}

// manifest reads the manifest of a data set.
func manifest(t *testing.T, folder string) (header dataset.Header, records []dataset.Record) {
	t.Helper()
	file, err := os.Open(filepath.Join(folder, "manifest.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	reader := bufio.NewScanner(file)
	reader.Buffer(nil, 1<<20)
	for line := 0; reader.Scan(); line++ {
		into := any(&header)
		if line > 0 {
			records = append(records, dataset.Record{})
			into = &records[line-1]
		}
		if err := json.Unmarshal(reader.Bytes(), into); err != nil {
			t.Fatalf("line %d: %v", line+1, err)
		}
	}
	if err := reader.Err(); err != nil {
		t.Fatal(err)
	}
	return header, records
}

func read(t *testing.T, parts ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestExport compares every file with the street itself.
func TestExport(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	var progress bytes.Buffer
	if err := dataset.Export(t.Context(), cfg, &progress); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(progress.String(), "7/7 frames") {
		t.Errorf("progress: %q", progress.String())
	}
	header, records := manifest(t, cfg.Out)
	want := dataset.Header{
		Format: "spatialflow street", Version: 1, Frames: 7, Seed: 11, PerSeed: 3, Step: .5, DepthScale: 256,
		Street:  street.Config{Seed: 11, FPS: 30, Width: 256, Height: 144, Split: street.Train},
		Classes: map[int]string{0: "person", 1: "bicycle", 2: "car", 5: "bus"},
	}
	if diff := cmp.Diff(want, header); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	if len(records) != 7 {
		t.Fatalf("%d records, want 7", len(records))
	}
	for i, record := range records {
		if name, seed, n := fmt.Sprintf("%06d", i+1), uint64(11+i/3), uint64(i%3*15); record.Name != name || record.Seed != seed || record.Frame != n {
			t.Errorf("record %d is %s, frame %d of seed %d; want %s, %d of %d", i, record.Name, record.Frame, record.Seed, name, n, seed)
		}
		checkFrame(t, cfg, record)
	}
}

func checkFrame(t *testing.T, cfg dataset.Config, record dataset.Record) {
	t.Helper()
	s, err := street.New(street.Config{Seed: record.Seed, FPS: 30, Width: cfg.Width, Height: cfg.Height, Split: cfg.Split})
	if err != nil {
		t.Fatal(err)
	}
	var f street.Frame
	if err := s.Render(record.Frame, &f); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(dataset.Record{Name: record.Name, Seed: record.Seed, Frame: record.Frame, Time: f.Time.Seconds(), Camera: f.Camera, Objects: f.Objects}, record); diff != "" {
		t.Errorf("%s (-want +got):\n%s", record.Name, diff)
	}
	picture, kind, err := image.Decode(bytes.NewReader(read(t, cfg.Out, "images", record.Name+".jpg")))
	if err != nil || kind != "jpeg" || picture.Bounds() != f.Image.Rect {
		t.Errorf("%s: a %s of %v: %v", record.Name, kind, picture.Bounds(), err)
	}
	depth, err := png.Decode(bytes.NewReader(read(t, cfg.Out, "depth", record.Name+".png")))
	if err != nil {
		t.Fatal(err)
	}
	grey, ok := depth.(*image.Gray16)
	if !ok || grey.Rect != f.Image.Rect {
		t.Fatalf("%s: depth is a %T of %v", record.Name, depth, depth.Bounds())
	}
	for i, metres := range f.Depth {
		if got := grey.Gray16At(i%cfg.Width, i/cfg.Width).Y; got != dataset.DepthValue(metres) {
			t.Fatalf("%s: %v m are %d in the depth picture, want %d", record.Name, metres, got, dataset.DepthValue(metres))
		}
	}
	checkLabels(t, cfg, &f, string(read(t, cfg.Out, "labels", record.Name+".txt")))
}

// checkLabels turns the labels back into boxes.
func checkLabels(t *testing.T, cfg dataset.Config, f *street.Frame, labels string) {
	t.Helper()
	var countable []street.Object
	for _, o := range f.Objects {
		if o.Countable() {
			countable = append(countable, o)
		}
	}
	lines := strings.FieldsFunc(labels, func(r rune) bool { return r == '\n' })
	if len(lines) != len(countable) {
		t.Fatalf("%d labels, want %d", len(lines), len(countable))
	}
	for i, line := range lines {
		var class int
		var cx, cy, w, h float64
		if _, err := fmt.Sscanf(line, "%d %g %g %g %g", &class, &cx, &cy, &w, &h); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		width, height := float64(cfg.Width), float64(cfg.Height)
		got := [4]float64{(cx - w/2) * width, (cy - h/2) * height, (cx + w/2) * width, (cy + h/2) * height}
		for k, edge := range countable[i].Box {
			if class != countable[i].Class || math.Abs(got[k]-float64(edge)) > .01 {
				t.Errorf("%q is class %d at %v, want %+v", line, class, got, countable[i])
			}
		}
	}
}

func TestDepthValue(t *testing.T) {
	t.Parallel()
	for metres, want := range map[float32]uint16{
		.2: 51, 1: 256, 10.5: 2688, 255.99: 65533, 255.998: 65535, 256: 0, 1000: 0, float32(math.Inf(1)): 0,
	} {
		if got := dataset.DepthValue(metres); got != want {
			t.Errorf("%v m: %d, want %d", metres, got, want)
		}
	}
}

func TestExportRefuses(t *testing.T) {
	t.Parallel()
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "thesis.txt"), []byte("years of work"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(*dataset.Config)
		want   error
		says   string
	}{
		"no folder":         {func(c *dataset.Config) { c.Out = "" }, dataset.ErrExport, "--out"},
		"a folder in use":   {func(c *dataset.Config) { c.Out = full }, dataset.ErrExport, "not empty"},
		"a file":            {func(c *dataset.Config) { c.Out = filepath.Join(full, "thesis.txt") }, dataset.ErrExport, "--out"},
		"no frames":         {func(c *dataset.Config) { c.Frames = 0 }, dataset.ErrExport, "--frames"},
		"too many frames":   {func(c *dataset.Config) { c.Frames = 1_000_000 }, dataset.ErrExport, "--frames"},
		"none of a seed":    {func(c *dataset.Config) { c.PerSeed = 0 }, dataset.ErrExport, "--per-seed"},
		"no step":           {func(c *dataset.Config) { c.Step = time.Millisecond }, dataset.ErrExport, "--step"},
		"no such split":     {func(c *dataset.Config) { c.Split = "test" }, street.ErrParameter, "split"},
		"pictures too tiny": {func(c *dataset.Config) { c.Width = 8 }, street.ErrParameter, "size"},
	} {
		cfg := config(t)
		test.change(&cfg)
		if err := dataset.Export(t.Context(), cfg, io.Discard); !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want %v that says %s", name, err, test.want, test.says)
		}
	}
	if string(read(t, full, "thesis.txt")) != "years of work" {
		t.Error("what was in the folder is gone")
	}
}

// stopper ends an export when it first tells its progress.
type stopper struct{ stop context.CancelFunc }

func (s stopper) Write(p []byte) (int, error) {
	s.stop()
	return len(p), nil
}

// TestStopped wants every record of a stopped export to have its files.
func TestStopped(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	cfg := config(t)
	cfg.Frames = 100_000
	err := dataset.Export(ctx, cfg, stopper{cancel})
	if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	_, records := manifest(t, cfg.Out)
	if len(records) == cfg.Frames {
		t.Errorf("all %d frames were written", len(records))
	}
	for _, record := range records {
		checkFrame(t, cfg, record)
	}
}
