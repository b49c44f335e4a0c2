package source

import (
	"bytes"
	"context"
	"errors"
	"image/jpeg"
	"io"
	"math"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/producer/street"
)

func openTestStreet(t testing.TB, uri string) Source {
	t.Helper()
	s, err := parseSource(uri, Settings{Quality: 90})
	if err != nil {
		t.Fatal(err)
	}
	s.Settings.Mode = flow.ModeLossless
	src, info, err := Open(t.Context(), s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if info.Frames != 0 {
		t.Errorf("a street of %d frames, want 0: it has no end", info.Frames)
	}
	t.Cleanup(func() {
		if err := src.Close(); err != nil {
			t.Error(err)
		}
	})
	return src
}

func TestStreetPicture(t *testing.T) {
	src := openTestStreet(t, "street:?seed=7&size=320x180")
	before := time.Now()
	p, err := src.Next(t.Context())
	p.Finish()
	if err != nil || p.Broken != "" {
		t.Fatal(err, p.Broken)
	}
	if p.Captured.Before(before) || p.Captured.After(time.Now()) || p.Read <= 0 || p.Encode <= 0 {
		t.Errorf("captured %v (now %v), read %v, encode %v", p.Captured, before, p.Read, p.Encode)
	}
	got, err := jpeg.Decode(bytes.NewReader(p.Data))
	if err != nil {
		t.Fatal(err)
	}
	if got.Bounds().Dx() != 320 || got.Bounds().Dy() != 180 || p.Width != 320 || p.Height != 180 {
		t.Errorf("a picture of %v, said to be %dx%d", got.Bounds(), p.Width, p.Height)
	}
	s, err := street.New(street.Config{Seed: 7, FPS: 30, Width: 320, Height: 180, Split: street.All})
	if err != nil {
		t.Fatal(err)
	}
	var want street.Frame
	if err := s.Render(0, &want); err != nil {
		t.Fatal(err)
	}
	sum := 0.
	for y := range 180 {
		for x := range 320 {
			r, g, b, _ := got.At(x, y).RGBA()
			c := want.Image.RGBAAt(x, y)
			sum += math.Abs(float64(r>>8)-float64(c.R)) + math.Abs(float64(g>>8)-float64(c.G)) + math.Abs(float64(b>>8)-float64(c.B))
		}
	}
	if mean := sum / (320 * 180 * 3); mean > 8 {
		t.Errorf("the JPEG is %.1f of 255 away from what was rendered", mean)
	}
}

// TestStreetPace takes frames as fast as it can: they must not come faster than the street's clock.
func TestStreetPace(t *testing.T) {
	src := openTestStreet(t, "street:?size=64x64&fps=50")
	start := time.Now()
	for range 11 {
		if _, err := src.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(start); took < 200*time.Millisecond {
		t.Errorf("10 frames after the first took %v, want 200 ms at 50 a second", took)
	}
	slow := openTestStreet(t, "street:?size=64x64&fps=1")
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := slow.Next(ctx); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := slow.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting for the next frame ended with %v, want a stop", err)
	}
}

func TestStreetSkip(t *testing.T) {
	const far = 1_000_000_007
	walked, skipped := openTestStreet(t, "street:?size=64x64&fps=240"), openTestStreet(t, "street:?size=64x64&fps=240")
	if err := walked.Skip(t.Context(), far-3); err != nil {
		t.Fatal(err)
	}
	var want Picture
	for range 4 {
		var err error
		if want, err = walked.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	want.Finish()
	if err := skipped.Skip(t.Context(), far); err != nil { // walking there would take for ever
		t.Fatal(err)
	}
	got, err := skipped.Next(t.Context())
	got.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Data, want.Data) {
		t.Error("the frame after a skip is another one")
	}
	if err := skipped.Skip(t.Context(), math.MaxUint64); err != nil {
		t.Fatal(err)
	}
	if _, err := skipped.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("after everything: %v, want the end", err)
	}
}

// BenchmarkStreetFrame renders and encodes one frame of 640x360, without waiting for its time.
func BenchmarkStreetFrame(b *testing.B) {
	src := openTestStreet(b, "street:?seed=3").(*generated)
	var read, encode time.Duration
	b.ReportAllocs()
	for b.Loop() {
		src.started = time.Time{}
		p, err := src.Next(b.Context())
		p.Finish()
		if err != nil {
			b.Fatal(err)
		}
		read, encode = read+p.Read, encode+p.Encode
	}
	b.ReportMetric(float64(read.Nanoseconds())/float64(b.N), "read-ns/frame")
	b.ReportMetric(float64(encode.Nanoseconds())/float64(b.N), "encode-ns/frame")
}
