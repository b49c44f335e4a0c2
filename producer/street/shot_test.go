package street

import (
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"os"
	"testing"
)

func TestShots(t *testing.T) {
	dir := os.Getenv("SHOTS")
	if dir == "" {
		return
	}
	grid := image.NewRGBA(image.Rect(0, 0, 1920, 1080))
	first := uint64(1)
	fmt.Sscan(os.Getenv("FIRST"), &first)
	for seed := first; seed < first+9; seed++ {
		s, err := New(Config{Seed: seed, FPS: 30, Width: 640, Height: 360, Split: All})
		if err != nil {
			t.Fatal(err)
		}
		var f Frame
		if err := s.Render(40, &f); err != nil {
			t.Fatal(err)
		}
		w, _ := os.Create(fmt.Sprintf("%s/%d.png", dir, seed))
		png.Encode(w, f.Image)
		w.Close()
		fmt.Println(seed, len(f.Objects), len(s.raster.shown))
		i := int(seed - first)
		draw.Draw(grid, image.Rect(i%3*640, i/3*360, i%3*640+640, i/3*360+360), f.Image, image.Point{}, draw.Src)
	}
	w, _ := os.Create(dir + "/grid.png")
	png.Encode(w, grid)
	w.Close()
}

func BenchmarkRender(b *testing.B) {
	s, _ := New(Config{Seed: 3, FPS: 30, Width: 640, Height: 360, Split: All})
	var f Frame
	s.Render(0, &f)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		s.Render(uint64(i), &f)
	}
}
