package join_test

import (
	"math"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/fuser/join"
)

// BenchmarkJoin is what one core joins: 518x518 maps, 20 boxes a frame, in and out of the joiner.
func BenchmarkJoin(b *testing.B) {
	const side = 518
	values := make([]float32, side*side)
	for i := range values {
		x, y := float64(i%side), float64(i/side)
		values[i] = float32(4 + y/100 + math.Sin(x/40)*math.Cos(y/30) + 0.02*math.Sin(x*y))
	}
	var packer depthmap.Packer
	d, err := packer.Pack(values, side, side, depthmap.InverseRelative, depthmap.DefaultBits)
	if err != nil {
		b.Fatal(err)
	}
	boxes := make([]flow.Detection, 20)
	for i := range boxes {
		x, y := float32(i%5*150), float32(i/5*130)
		boxes[i] = flow.Detection{Label: "person", Score: 0.8, Box: [4]float32{x, y, x + 80, y + 160}}
	}
	j := join.NewLossless[int](0, join.NewLags())
	var unpacker depthmap.Unpacker
	var stable *depthmap.Range
	b.ReportAllocs()
	seq := uint64(0)
	for b.Loop() {
		seq++
		detect, depth := result(flow.GroupDetect, "a", seq), result(flow.GroupDepth, "a", seq)
		detect.Width, detect.Height, detect.Detections, depth.Depth = 768, 576, boxes, d
		for _, r := range []*flow.Result{detect, depth} {
			if _, err := j.Add(r, true, 0, begin); err != nil {
				b.Fatal(err)
			}
		}
		joined, _, _ := j.Next(nil, begin)
		scene, _ := join.Fuse(joined, nil, stable, &unpacker, time.Now())
		stable = scene.Range
		j.Stored()
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "scenes/s")
}
