package standalone

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"text/tabwriter"

	"gocv.io/x/gocv"

	"github.com/spatial-flow/spatial-flow/client"
	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/client/label"
	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/gateway/credentials"
	"github.com/spatial-flow/spatial-flow/producer"
	"github.com/spatial-flow/spatial-flow/standalone/drawing"
	"github.com/spatial-flow/spatial-flow/standalone/stdio"
)

// Predict is the command `spatialflow predict`: what is in pictures, and how near.
type Predict struct {
	Pictures []string `arg:"" name:"picture" placeholder:"PICTURE" help:"JPEG, PNG, BMP, WebP, TIFF or GIF files."`
	JSON     bool     `name:"json" help:"Print a line of JSON for each picture, as up --scenes writes it, with its path, instead of tables."`
	Out      string   `short:"o" placeholder:"PATH" help:"Draw the boxes and, beside the picture, the depth heat map: into this file, .jpg or .png, or, of several pictures, into this folder."`

	Gateway string `env:"-" placeholder:"URL" help:"Ask a gateway, as http://127.0.0.1:8000, whose models then answer (--confidence holds beside theirs), instead of the models here."`

	credentials.Flags `group:"Gateway:"`

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
	if p.Gateway != "" {
		if _, err := client.New(p.Gateway, client.Options{}); err != nil {
			return fmt.Errorf("%w: --gateway: %w", ErrUsage, err)
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

// RunPredict asks the models of this process, or those of a gateway, about the pictures, and prints what is in them, in their
// order. [ErrPredict] is returned at the end when one of them could not be looked at, [workers.ErrBroken] when a model does not
// work.
func (p *Predict) RunPredict(ctx context.Context, out io.Writer, log *slog.Logger) (err error) {
	if err := p.Validate(); err != nil {
		return err
	}
	asked, err := p.asked(log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, asked.Close()) }()
	if p.Out != "" && len(p.Pictures) > 1 {
		if err := os.MkdirAll(p.Out, 0o755); err != nil {
			return fmt.Errorf("--out: %w", err)
		}
	}
	painter := drawing.NewPainter()
	defer painter.Close()
	failed := 0
	err = inOrder(ctx, p.Pictures, p.Parallel, asked.look, func(path string, l looked) error {
		if l.scene.Outcome == flow.OutcomeError {
			failed++
		}
		return p.show(out, path, l, painter)
	})
	if err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%w: %d of %d", ErrPredict, failed, len(p.Pictures))
	}
	return nil
}

// asked is who says what is in pictures. It serves many goroutines.
type asked interface {
	// look is the scene of one picture file. An error ends it all; what is wrong with the picture is in the scene.
	look(ctx context.Context, path string) (looked, error)
	Close() error
}

// looked is a picture, a JPEG, its scene, and its depth map, unless there is none.
type looked struct {
	picture []byte
	scene   api.Scene
	depth   *drawing.Map
}

func (p *Predict) asked(log *slog.Logger) (asked, error) {
	if p.Gateway != "" {
		options, err := p.Options()
		if err != nil {
			return nil, err
		}
		gateway, err := client.New(p.Gateway, options)
		return askedGateway{gateway, p.Flags, client.Question{Confidence: p.Confidence, Depth: p.Out != ""}}, err
	}
	return p.openHere(log)
}

// inOrder does work for each of a list, for so many at once, and gives what comes of it to done in the list's order, until one of
// them fails: what comes before that is given all the same.
func inOrder[T, R any](ctx context.Context, list []T, parallel int, work func(context.Context, T) (R, error), done func(T, R) error) error {
	type outcome struct {
		result R
		err    error
	}
	ctx, cancel := context.WithCancel(ctx)
	outcomes := make(chan chan outcome, parallel) // in order; those at work are at most so many, and the one that is done
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer cancel()
	tasks.Go(func() {
		for _, item := range list {
			came := make(chan outcome, 1)
			select {
			case outcomes <- came:
			case <-ctx.Done():
				return
			}
			tasks.Go(func() {
				result, err := work(ctx, item)
				came <- outcome{result, err}
			})
		}
	})
	for _, item := range list {
		select {
		case came := <-outcomes:
			o := <-came
			if o.err != nil {
				return o.err
			}
			if err := done(item, o.result); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (p *Predict) show(out io.Writer, path string, l looked, painter *drawing.Painter) error {
	scene := l.scene
	if p.JSON {
		line := struct {
			Picture string `json:"picture"`
			api.Scene
		}{path, scene}
		if err := json.NewEncoder(out).Encode(line); err != nil {
			return err
		}
	} else if err := printTable(out, path, scene); err != nil {
		return err
	}
	if p.Out == "" || scene.Outcome == flow.OutcomeError {
		return nil
	}
	return p.draw(path, l, painter)
}

func printTable(out io.Writer, path string, scene api.Scene) error {
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
	fmt.Fprintf(out, "%s: %dx%d, %d detections\n", path, scene.Size[0], scene.Size[1], len(scene.Detections))
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

func (p *Predict) draw(path string, l looked, painter *drawing.Painter) error {
	painter.Forget()
	drawn, err := painter.Draw(l.picture, l.scene.Size, l.scene.Detections, l.depth)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	file := p.drawingOf(path)
	if !gocv.IMWrite(file, *drawn) {
		return fmt.Errorf("%w: %s can't be written", drawing.ErrDraw, file)
	}
	return nil
}
