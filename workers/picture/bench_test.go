package picture_test

import (
	"testing"

	"github.com/spatial-flow/spatial-flow/workers/picture"
)

// What a frame of 1080p costs before the model sees it.
func BenchmarkTensor(b *testing.B) {
	data := encodeJPEG(b, scene(1920, 1080))
	for _, bench := range []struct {
		name          string
		width, height int
		write         func(p *picture.Picture, dst []float32, width, height int) error
	}{
		{"detect640", 640, 640, func(p *picture.Picture, dst []float32, width, height int) error {
			_, err := p.Letterbox(dst, width, height)
			return err
		}},
		{"depth252", 448, 252, (*picture.Picture).Cubic},
		{"depth518", 924, 518, (*picture.Picture).Cubic},
	} {
		b.Run(bench.name, func(b *testing.B) {
			p, dst := newPicture(b), make([]float32, 3*bench.width*bench.height)
			b.ReportAllocs()
			for b.Loop() {
				if err := p.Decode(data); err != nil {
					b.Fatal(err)
				}
				if err := bench.write(p, dst, bench.width, bench.height); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
