package drawing_test

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gocv.io/x/gocv"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/producer/source/ffmpeg"
	"github.com/spatial-flow/spatial-flow/standalone/drawing"
)

// grey is a JPEG of one grey.
func grey(t *testing.T, width, height int) []byte {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, width, height))
	for i := range img.Pix {
		img.Pix[i] = 100
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, img, nil); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// halves is a depth map whose left half is at the near end of the range, and its right half at the far end.
func halves(t *testing.T, kind depthmap.Kind, near, far float32) *drawing.Map {
	t.Helper()
	values := make([]float32, 16*8)
	for i := range values {
		if values[i] = far; i%16 < 8 {
			values[i] = near
		}
	}
	var packer depthmap.Packer
	depth, err := packer.Pack(values, 16, 8, kind, depthmap.DefaultBits)
	if err != nil {
		t.Fatal(err)
	}
	return &drawing.Map{Map: depth, Range: &depthmap.Range{Low: min(near, far), High: max(near, far)}}
}

func TestDraw(t *testing.T) {
	t.Parallel()
	p := drawing.NewPainter()
	defer p.Close()
	person := flow.Detection{Label: "person", Score: .9, Box: [4]float32{100, 60, 200, 160}, Depth: &flow.BoxDepth{Kind: depthmap.InverseRelative, Nearness: 81}}
	wild := flow.Detection{Label: "car", ClassID: 2, Score: .5, Box: [4]float32{-1e30, -5, 1e30, 3e38}} // beyond the picture: at its edges
	inferno := map[string]color.RGBA{"near": {252, 255, 164, 255}, "far": {0, 0, 4, 255}}
	for _, test := range []struct {
		name  string
		depth *drawing.Map
	}{
		{"inverse", halves(t, depthmap.InverseRelative, 9, 1)},
		{"metric", halves(t, depthmap.Metric, 1, 9)},
		{"the last map again", nil},
	} {
		drawn, err := p.Draw(grey(t, 320, 180), [2]int{}, []flow.Detection{person, wild}, test.depth)
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if drawn.Cols() != 640 || drawn.Rows() != 180 {
			t.Fatalf("%s: drawn %dx%d, want 640x180", test.name, drawn.Cols(), drawn.Rows())
		}
		for _, want := range []struct {
			x, y int
			rgb  color.RGBA
		}{
			{300, 100, color.RGBA{100, 100, 100, 255}}, {100, 110, color.RGBA{0x4c, 0xc9, 0xf0, 255}}, {420, 110, color.RGBA{0x4c, 0xc9, 0xf0, 255}},
			{340, 90, inferno["near"]}, {620, 90, inferno["far"]}, {0, 179, color.RGBA{0xff, 0xd1, 0x66, 255}},
		} {
			bgr := drawn.GetVecbAt(want.y, want.x)
			for i, v := range []uint8{want.rgb.B, want.rgb.G, want.rgb.R} {
				if diff := int(bgr[i]) - int(v); diff < -50 || diff > 50 { // lines are smoothed
					t.Errorf("%s: pixel %d,%d is %v (BGR), want %v", test.name, want.x, want.y, bgr, want.rgb)
					break
				}
			}
		}
	}
	p.Forget()
	drawn, err := p.Draw(nil, [2]int{320, 180}, nil, nil) // neither picture nor map
	if err != nil || drawn.Cols() != 640 {
		t.Fatalf("nothing to draw: %v", err)
	}
	if bgr := drawn.GetVecbAt(90, 600); bgr[0] != 30 {
		t.Errorf("a forgotten map is drawn: %v", bgr)
	}
	if _, err := p.Draw([]byte("no picture"), [2]int{}, nil, nil); !errors.Is(err, drawing.ErrDraw) {
		t.Errorf("no picture: %v", err)
	}
}

// What was there stays there until there is something in its place, and a video that could not be written is no video.
func TestVideoTakesItsPlaceLast(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "film.avi")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := drawing.NewVideo(path, 10)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); !errors.Is(err, drawing.ErrDraw) {
		t.Errorf("closed without a picture: %v", err)
	}
	if v, err = drawing.NewVideo(path, 10); err != nil {
		t.Fatal(err)
	}
	part := filepath.Join(filepath.Dir(path), "film.part.avi")
	if err := errors.Join(os.Remove(part), os.Symlink("/dev/full", part)); err != nil {
		t.Fatal(err)
	}
	picture := gocv.NewMatWithSize(120, 160, gocv.MatTypeCV8UC3)
	defer picture.Close()
	if err := v.Add(&picture); err != nil {
		t.Fatal(err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if err := v.Until(stopped, 1e6, &picture); err != nil || v.Frames() != 1 {
		t.Errorf("told to stop: %v, %d pictures", err, v.Frames())
	}
	if err := v.Close(); !errors.Is(err, drawing.ErrDraw) || !strings.Contains(err.Error(), "is the disk full?") {
		t.Errorf("a full disk: %v", err)
	}
	if err := os.Remove(part); err != nil {
		t.Fatal(err)
	}
	if v, err = drawing.NewVideo(path, 10); err != nil {
		t.Fatal(err)
	}
	if err := v.Add(&picture); err != nil {
		t.Fatal(err)
	}
	if left := v.Leave(); left != part {
		t.Errorf("one that is not complete is left in %q, want %q", left, part)
	} else if info, err := ffmpeg.Probe(t.Context(), left); err != nil || info.Frames != 1 {
		t.Errorf("one that is not complete has %d pictures, %v", info.Frames, err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "precious" {
		t.Errorf("what was there is %q now, %v", text, err)
	}
}

func TestVideo(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"film.mp4", "film.AVI"} {
		path := filepath.Join(t.TempDir(), name)
		v, err := drawing.NewVideo(path, 10)
		if err != nil {
			t.Fatal(err)
		}
		picture := gocv.NewMatWithSizeFromScalar(gocv.NewScalar(200, 100, 50, 0), 121, 160, gocv.MatTypeCV8UC3)
		defer picture.Close()
		other := gocv.NewMatWithSizeFromScalar(gocv.NewScalar(0, 0, 250, 0), 50, 90, gocv.MatTypeCV8UC3)
		defer other.Close()
		for _, err := range []error{v.Add(&picture), v.Add(&other), v.Until(t.Context(), 1, &picture), v.Until(t.Context(), .5, &picture), v.Close()} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if v.Frames() != 10 { // two, as many as make 10 in a second, and none for what came too early
			t.Errorf("%s: %d pictures, want 10", name, v.Frames())
		}
		info, err := ffmpeg.Probe(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Width != 160 || info.Height != 120 || info.FPS != 10 {
			t.Errorf("%s: pictures of %dx%d at %v/s, want 160x120 at 10/s", name, info.Width, info.Height, info.FPS)
		}
		info.FullRange = true // so that they come in BGR
		film, err := ffmpeg.OpenFilm(t.Context(), path, info, ffmpeg.FilmOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer film.Close()
		frames := 0
		for ; ; frames++ {
			var pixels []byte
			_, err := film.Next(t.Context(), func(l ffmpeg.Layout) []byte {
				pixels = make([]byte, l.Bytes())
				return pixels
			})
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if red := pixels[(60*160+80)*3+2]; (red > 150) != (frames == 1) {
				t.Errorf("%s: picture %d has red %d", name, frames, red)
			}
		}
		if frames != 10 {
			t.Errorf("%s: %d pictures are read back, want 10", name, frames)
		}
	}
}

func TestVideoRefuses(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for _, test := range []struct {
		path string
		fps  float64
		says string
	}{
		{filepath.Join(folder, "film.txt"), 10, ".mp4 or .avi"}, {filepath.Join(folder, "none", "film.mp4"), 10, "no such file"}, {filepath.Join(folder, "film.mp4"), 0, "0.1 to 1000"},
	} {
		if _, err := drawing.NewVideo(test.path, test.fps); !errors.Is(err, drawing.ErrDraw) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want %q", test.path, err, test.says)
		}
	}
	v, err := drawing.NewVideo(filepath.Join(folder, "film.mp4"), 10)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); !errors.Is(err, drawing.ErrDraw) {
		t.Errorf("a video without pictures: %v", err)
	}
	if _, err := os.Stat(filepath.Join(folder, "film.mp4")); err == nil {
		t.Error("an empty video is left behind")
	}
}
