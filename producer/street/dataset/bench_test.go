package dataset_test

import (
	"io"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/producer/street"
	"github.com/spatial-flow/spatial-flow/producer/street/dataset"
)

// BenchmarkExport writes 20 frames of two streets, on all CPUs.
func BenchmarkExport(b *testing.B) {
	dir := b.TempDir()
	b.ReportAllocs()
	const frames = 20
	for i := range b.N {
		cfg := dataset.Config{Out: filepath.Join(dir, strconv.Itoa(i)), Frames: frames, Seed: uint64(i), PerSeed: 10, Step: time.Second, Split: street.Train, Width: 640, Height: 360}
		if err := dataset.Export(b.Context(), cfg, io.Discard); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*frames)/b.Elapsed().Seconds(), "frames/s")
}
