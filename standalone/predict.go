package standalone

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"gocv.io/x/gocv"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/client/label"
	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/producer"
	"github.com/spatial-flow/spatial-flow/standalone/drawing"
	"github.com/spatial-flow/spatial-flow/standalone/stdio"
)

// Predict is the command `spatialflow predict`: what is in pictures, and how near.
type Predict struct {
	Pictures []string `arg:"" name:"picture" placeholder:"PICTURE" help:"JPEG, PNG, BMP, WebP, TIFF or GIF files."`
	JSON     bool     `name:"json" help:"Print a line of JSON for each picture, as up --scenes writes it, with its path, instead of tables."`
	Out      string   `short:"o" placeholder:"PATH" help:"Draw the boxes and, beside the picture, the depth heat map: into this file, .jpg or .png, or, of several pictures, into this folder."`

	Models `group:"Models:"`
}

// Validate returns [ErrUsage] when there is nothing to do it with.
func (p *Predict) Validate() error {
	for _, path := range p.Pictures {
		if info, err := os.Stat(path); err != nil {
			return fmt.Errorf("%w: %w", ErrUsage, err)
		} else if info.IsDir() {
			return fmt.Errorf("%w: %s is a folder: give its pictures, or watch it (spatialflow watch %s)", ErrUsage, path, path)
		} else if !producer.IsPicture(path) {
			return fmt.Errorf("%w: %s is no JPEG, PNG, BMP, WebP, TIFF or GIF by its name: a video is watched (spatialflow watch %s)", ErrUsage, path, path)
		}
	}
	switch p.Out {
	case "":
		return nil
	case stdio.Standard:
		return fmt.Errorf("%w: --out -: drawings are written to a file or a folder", ErrUsage)
	}
	if ext := strings.ToLower(filepath.Ext(p.Out)); len(p.Pictures) == 1 && ext != ".jpg" && ext != ".jpeg" && ext != ".png" {
		return fmt.Errorf("%w: --out %s: a drawing's name ends in .jpg or .png", ErrUsage, p.Out)
	}
	drawn := map[string]string{}
	for _, path := range p.Pictures {
		file := p.drawingOf(path)
		if other, twice := drawn[file]; twice {
			return fmt.Errorf("%w: %s and %s would both be drawn to %s", ErrUsage, other, path, file)
		}
		if sameFile(file, p.Pictures...) {
			return fmt.Errorf("%w: --out %s: the drawing of %s would take the place of a picture", ErrUsage, p.Out, path)
		}
		drawn[file] = path
	}
	return nil
}

// drawingOf is the file that a picture is drawn to.
func (p *Predict) drawingOf(path string) string {
	if len(p.Pictures) == 1 {
		return p.Out
	}
	base := filepath.Base(path)
	return filepath.Join(p.Out, strings.TrimSuffix(base, filepath.Ext(base))+".jpg")
}

// RunPredict runs the pictures through a pipeline of its own, and prints what is in them, in their order. [ErrPredict] is
// returned at the end when one of them could not be looked at.
func (p *Predict) RunPredict(ctx context.Context, out io.Writer, log *slog.Logger) error {
	if err := p.Validate(); err != nil {
		return err
	}
	if p.Out != "" && len(p.Pictures) > 1 {
		if err := os.MkdirAll(p.Out, 0o755); err != nil {
			return fmt.Errorf("--out: %w", err)
		}
	}
	painter := drawing.NewPainter()
	defer painter.Close()
	failed := 0
	for first := 0; first < len(p.Pictures); first += producer.MaxSources {
		paths := p.Pictures[first:min(first+producer.MaxSources, len(p.Pictures))]
		sink := pictureSink{}
		sources := make([]string, len(paths))
		for i, path := range paths {
			absolute, err := filepath.Abs(path) // a name may look like a URI, or have a # in it
			if err != nil {
				return err
			}
			sources[i] = fmt.Sprintf("picture-%d=%s", i, absolute)
		}
		cfg, err := p.lossless(sink, sources...)
		if err != nil {
			return err
		}
		if err := cfg.Run(ctx, io.Discard, io.Discard, log); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		for i, path := range paths {
			scene := sink[fmt.Sprintf("picture-%d", i)]
			if scene == nil {
				return fmt.Errorf("%w: %s has no scene", ErrPredict, path)
			}
			if scene.Outcome == flow.OutcomeError {
				failed++
			}
			if err := p.show(out, path, scene, painter); err != nil {
				return err
			}
		}
	}
	if failed > 0 {
		return fmt.Errorf("%w: %d of %d", ErrPredict, failed, len(p.Pictures))
	}
	return nil
}

// pictureSink keeps the scene of each source.
type pictureSink map[string]*flow.Scene

func (s pictureSink) Take(scene *flow.Scene) error { s[scene.Source] = scene; return nil }
func (s pictureSink) Close() error                 { return nil }

func (p *Predict) show(out io.Writer, path string, scene *flow.Scene, painter *drawing.Painter) error {
	if p.JSON {
		line := struct {
			Picture string `json:"picture"`
			api.Scene
		}{path, scene.JSON()}
		if err := json.NewEncoder(out).Encode(line); err != nil {
			return err
		}
	} else if err := printTable(out, path, scene); err != nil {
		return err
	}
	if p.Out == "" || scene.Outcome == flow.OutcomeError {
		return nil
	}
	return p.draw(path, scene, painter)
}

func printTable(out io.Writer, path string, scene *flow.Scene) error {
	if scene.Outcome == flow.OutcomeError {
		reasons := make([]string, 0, len(scene.Errors))
		for _, why := range scene.Errors {
			if len(reasons) == 0 || reasons[0] != why {
				reasons = append(reasons, why)
			}
		}
		_, err := fmt.Fprintf(out, "%s: %s\n", path, strings.Join(reasons, "; "))
		return err
	}
	fmt.Fprintf(out, "%s: %dx%d, %d detections\n", path, scene.Width, scene.Height, len(scene.Detections))
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for i, d := range scene.Detections {
		if i == 0 {
			fmt.Fprintln(table, "  LABEL\tSCORE\tX1\tY1\tX2\tY2\tDEPTH")
		}
		depth := cmp.Or(label.Near(d.Depth), "-")
		fmt.Fprintf(table, "  %s\t%.2f\t%.0f\t%.0f\t%.0f\t%.0f\t%s\n", d.Label, d.Score, d.Box[0], d.Box[1], d.Box[2], d.Box[3], depth)
	}
	return table.Flush()
}

func (p *Predict) draw(path string, scene *flow.Scene, painter *drawing.Painter) error {
	pictures, err := producer.OpenPictures(context.Background(), "picture="+path)
	if err != nil {
		return err
	}
	defer pictures.Close()
	data, err := pictures.Next(context.Background())
	if err != nil {
		return err
	}
	painter.Forget()
	drawn, err := painter.Draw(data, [2]int{scene.Width, scene.Height}, scene.Detections, mapOf(scene.Depth, scene.Range))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	file := p.drawingOf(path)
	if !gocv.IMWrite(file, *drawn) {
		return fmt.Errorf("%w: %s can't be written", drawing.ErrDraw, file)
	}
	return nil
}
