package standalone

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spatial-flow/spatial-flow/producer/street"
	"github.com/spatial-flow/spatial-flow/producer/street/dataset"
	"github.com/spatial-flow/spatial-flow/standalone/stdio"
)

// Street is the command `spatialflow street`: the generated street with known truth.
type Street struct {
	Export StreetExport `cmd:"" help:"Write frames of generated streets with their truth: pictures, YOLO labels, depth, and a manifest."`
}

// StreetExport is the command `spatialflow street export`.
type StreetExport struct {
	Frames  int           `required:"" placeholder:"N" help:"Frames to write."`
	Seed    uint64        `default:"1" help:"Seed of the first street; the next streets have the next seeds."`
	Out     string        `required:"" placeholder:"DIR" help:"Folder to write to: a new one, or an empty one."`
	Split   string        `enum:"train,held-out,all" default:"all" help:"What textures, clothes and camera heights are drawn from: train, held-out (nothing that train has), or all."`
	PerSeed int           `default:"10" help:"Frames of one street."`
	Step    time.Duration `default:"1s" help:"Time between two frames of a street, at least 1/30 s."`
	Size    string        `default:"640x360" placeholder:"WxH" help:"Pixels, 64x64 to 3840x2160."`
}

// RunExport writes the data set; progress gets the lines that a person watches.
func (e *StreetExport) RunExport(ctx context.Context, progress io.Writer) error {
	if e.Out == stdio.Standard {
		return fmt.Errorf("%w: --out -: frames are written to a folder", ErrUsage)
	}
	width, height, err := street.ParseSize(e.Size)
	if err != nil {
		return fmt.Errorf("%w: --size: %w", ErrUsage, err)
	}
	return dataset.Export(ctx, dataset.Config{
		Out: e.Out, Frames: e.Frames, Seed: e.Seed, PerSeed: e.PerSeed, Step: e.Step, Split: street.Split(e.Split), Width: width, Height: height,
	}, progress)
}
