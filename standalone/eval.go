package standalone

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/producer/street"
	"github.com/spatial-flow/spatial-flow/standalone/eval"
)

// Eval is the command `spatialflow eval`: it runs generated streets through the whole pipeline, lossless, and compares
// its scenes with the truth.
type Eval struct {
	Source string `default:"street:?seed=500000&fps=5&split=held-out" placeholder:"URI" help:"The first street; the demo models were trained on split=train and seeds below 500000."`
	Seeds  int    `default:"10" help:"Streets, of one seed after the other, that the frames are shared among."`
	Frames int    `default:"500" help:"Frames in all."`
	JSON   bool   `name:"json" help:"Print the report as JSON instead of a table."`

	// The least score is that of Ultralytics' validation (cfg/default.yaml, val: conf 0.001): average precision wants the weak
	// detections too.
	Models `set:"confidence=0.001"`
}

// Evaluate runs the streets and writes the report to out. [street.ErrParameter] or [ErrUsage] is returned when there is
// nothing to run.
func (e *Eval) Evaluate(ctx context.Context, out, progress io.Writer, log *slog.Logger) error {
	report, err := e.run(ctx, progress, log)
	if err != nil {
		return err
	}
	if !e.JSON {
		return report.WriteTable(out)
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(report)
}

func (e *Eval) run(ctx context.Context, progress io.Writer, log *slog.Logger) (eval.Report, error) {
	cfg, err := street.Parse(e.Source)
	if err != nil {
		return eval.Report{}, err
	}
	if e.Seeds < 1 || e.Frames < e.Seeds {
		return eval.Report{}, fmt.Errorf("%w: --seeds %d must be at least 1, and --frames %d at least as many", ErrUsage, e.Seeds, e.Frames)
	}
	judge := &judge{streets: map[string]*street.Street{}}
	judge.evaluation.MinHeight = street.CountHeight
	var streets []string
	for range e.Seeds {
		name := fmt.Sprintf("seed-%d", cfg.Seed)
		if judge.streets[name], err = street.New(cfg); err != nil {
			return eval.Report{}, err
		}
		streets = append(streets, name+"="+cfg.URI())
		cfg.Seed++
	}
	pipe, err := e.lossless(judge, streets...)
	if err != nil {
		return eval.Report{}, err
	}
	pipe.Producer.Frames = uint64(e.Frames / e.Seeds)
	if err := pipe.Run(ctx, io.Discard, progress, log); err != nil {
		return eval.Report{}, err
	}
	if err := ctx.Err(); err != nil {
		return eval.Report{}, err
	}
	return judge.evaluation.Report(), nil
}

// judge compares each scene with the street's own truth, which it renders again.
type judge struct {
	streets    map[string]*street.Street
	frame      street.Frame
	unpacker   depthmap.Unpacker
	evaluation eval.Evaluation
}

// Take judges one scene.
func (j *judge) Take(scene *flow.Scene) error {
	if scene.Outcome != flow.OutcomeComplete {
		return fmt.Errorf("scene %s: %s: %v", scene.ID(), scene.Outcome, scene.Errors)
	}
	if err := j.streets[scene.Source].Render(scene.Seq-1, &j.frame); err != nil {
		return fmt.Errorf("scene %s: %w", scene.ID(), err)
	}
	f := eval.Frame{
		Source: scene.Source, Seq: scene.Seq, Depth: j.frame.Depth,
		Width: j.frame.Image.Rect.Dx(), Height: j.frame.Image.Rect.Dy(), Scene: scene,
	}
	for _, o := range j.frame.Objects {
		f.Truths = append(f.Truths, eval.Truth{Label: o.Label, Box: o.Box, Instance: o.Instance, Distance: float64(o.Distance), Ignored: !o.Countable()})
	}
	if scene.Depth != nil {
		samples, err := j.unpacker.Unpack(scene.Depth)
		if err != nil {
			return fmt.Errorf("scene %s: %w", scene.ID(), err)
		}
		f.Samples = samples
	}
	return j.evaluation.Add(f)
}

// Close does nothing: the report is read afterwards.
func (j *judge) Close() error { return nil }
