package predict

import (
	"fmt"
	"math"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
)

// BenchmarkAnswer makes the answer of POST /predict out of a scene with a map of 336×252 samples and ten boxes.
func BenchmarkAnswer(b *testing.B) {
	const width, height = 336, 252
	values := make([]float32, width*height)
	for i := range values {
		x, y := float64(i%width), float64(i/width)
		values[i] = float32(y + 20*math.Sin(x/9)*math.Cos(y/7) + float64(i*i%7)/4)
	}
	var packer depthmap.Packer
	m, err := packer.Pack(values, width, height, depthmap.InverseRelative, depthmap.DefaultBits)
	if err != nil {
		b.Fatal(err)
	}
	for _, size := range []struct{ width, height int }{{768, 576}, {1920, 1440}} {
		scene := &flow.Scene{Depth: m, Width: size.width, Height: size.height}
		for i := range 10 {
			at := float32(30 * i)
			scene.Detections = append(scene.Detections, flow.Detection{Box: [4]float32{at, at, at + 60, at + 180}})
		}
		for _, mapSize := range []bool{false, true} {
			b.Run(fmt.Sprintf("%dx%d/map=%t", size.width, size.height, mapSize), func(b *testing.B) {
				for b.Loop() {
					if _, err := (predictQuery{mapSize: mapSize}).answer(&Found{scene, size.width, size.height}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
