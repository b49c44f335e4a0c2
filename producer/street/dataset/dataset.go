// Package dataset writes frames of streets, with their truth, as files that networks are trained on.
//
// A folder holds:
//
//	images/000001.jpg    the picture, JPEG of quality 90
//	labels/000001.txt    YOLO: a line "class cx cy w h" per countable object, COCO ids, shares of width and height
//	depth/000001.png     16-bit grey: metres × 256 along the optical axis, as KITTI has it; 0: sky, or 256 m and more
//	manifest.jsonl       first the [Header], then a [Record] per frame, in order, with every visible object
package dataset

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/spatial-flow/spatial-flow/producer/street"
)

// ErrExport is returned when a data set can't be written as it was asked for.
var ErrExport = errors.New("data set")

const (
	// DepthScale is what metres are multiplied with in depth pictures, as KITTI does.
	DepthScale = 256
	// MaxFrames bounds a data set: names have six digits.
	MaxFrames = 999_999

	format  = "spatialflow street"
	version = 1
	quality = 90 // of JPEG
	fps     = 30 // frames per second that --step is counted in
)

// Config says what is written.
type Config struct {
	Out     string        // folder: a new one, or an empty one
	Frames  int           // 1 to MaxFrames
	Seed    uint64        // of the first street; the next ones follow
	PerSeed int           // frames of one street, at least 1
	Step    time.Duration // between two frames of a street, at least 1/30 s
	Split   street.Split
	Width   int // pixels
	Height  int // pixels
}

// Header is the first line of a manifest.
type Header struct {
	Format     string         `json:"format"`
	Version    int            `json:"version"`
	Frames     int            `json:"frames"`
	Seed       uint64         `json:"seed"`
	PerSeed    int            `json:"per_seed"`
	Step       float64        `json:"step"` // seconds
	Street     street.Config  `json:"street"`
	DepthScale int            `json:"depth_scale"`
	Classes    map[int]string `json:"classes"`
}

// Record is the truth about one frame.
type Record struct {
	Name    string          `json:"name"` // of its files, without folder and extension
	Seed    uint64          `json:"seed"`
	Frame   uint64          `json:"frame"` // of the street, from 0
	Time    float64         `json:"time"`  // seconds since frame 0
	Camera  street.Camera   `json:"camera"`
	Objects []street.Object `json:"objects"` // all of which a pixel can be seen
}

// Validate returns [ErrExport] or [street.ErrParameter], naming the setting and the fix, when nothing can be written.
func (c Config) Validate() error {
	switch {
	case c.Out == "":
		return fmt.Errorf("%w: no folder to write to: give --out DIR", ErrExport)
	case c.Frames < 1 || c.Frames > MaxFrames:
		return fmt.Errorf("%w: --frames %d: give 1 to %d", ErrExport, c.Frames, MaxFrames)
	case c.PerSeed < 1:
		return fmt.Errorf("%w: --per-seed %d: give at least 1", ErrExport, c.PerSeed)
	case c.Step < time.Second/fps:
		return fmt.Errorf("%w: --step %v: give at least %v, the time between two frames", ErrExport, c.Step, time.Second/fps)
	}
	return c.street(c.Seed).Validate()
}

func (c Config) street(seed uint64) street.Config {
	return street.Config{Seed: seed, FPS: fps, Width: c.Width, Height: c.Height, Split: c.Split}
}

// Export writes a data set, on all CPUs, and tells progress how it goes, a line every two seconds. [ErrExport] is
// returned when the folder holds something already: nothing is ever overwritten. When ctx ends, what was written
// stays, with a manifest of it.
func Export(ctx context.Context, cfg Config, progress io.Writer) (err error) {
	if err := cfg.Validate(); err != nil {
		return err
	}
	if err := prepare(cfg.Out); err != nil {
		return err
	}
	manifest, err := os.Create(filepath.Join(cfg.Out, "manifest.jsonl"))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrExport, err)
	}
	defer func() { err = errors.Join(err, manifest.Close()) }()
	lines := bufio.NewWriter(manifest)
	defer func() { err = errors.Join(err, lines.Flush()) }()
	encoder := json.NewEncoder(lines)
	if err := encoder.Encode(header(cfg)); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	return exportAll(ctx, cfg, encoder, progress)
}

func header(cfg Config) Header {
	classes := map[int]string{}
	for _, class := range []int{street.Person, street.Bicycle, street.Car, street.Bus} {
		classes[class] = street.Label(class)
	}
	return Header{
		Format: format, Version: version, Frames: cfg.Frames, Seed: cfg.Seed, PerSeed: cfg.PerSeed, Step: cfg.Step.Seconds(),
		Street: cfg.street(cfg.Seed), DepthScale: DepthScale, Classes: classes,
	}
}

// prepare makes the folders. [ErrExport] is returned when out is there and holds anything.
func prepare(out string) error {
	entries, err := os.ReadDir(out)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: --out: %w", ErrExport, err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("%w: --out %s is not empty: give a new folder, or remove what is in it", ErrExport, out)
	}
	for _, folder := range []string{"images", "labels", "depth"} {
		if err := os.MkdirAll(filepath.Join(out, folder), 0o755); err != nil {
			return fmt.Errorf("%w: %w", ErrExport, err)
		}
	}
	return nil
}

// exportAll deals the streets out to the CPUs and writes the records in order. A few more streets than there are CPUs
// are under way, so that none waits for the slowest.
func exportAll(ctx context.Context, cfg Config, encoder *json.Encoder, progress io.Writer) error {
	tasks, ctx := errgroup.WithContext(ctx)
	streets := (cfg.Frames + cfg.PerSeed - 1) / cfg.PerSeed
	results := make(chan chan []Record, runtime.GOMAXPROCS(0)) // in the streets' order
	tasks.Go(func() error {
		defer close(results)
		for i := range streets {
			result := make(chan []Record, 1)
			select {
			case results <- result:
			case <-ctx.Done():
				return ctx.Err()
			}
			tasks.Go(func() error {
				defer close(result)
				records, err := exportStreet(ctx, cfg, i)
				result <- records
				return err
			})
		}
		return nil
	})
	tasks.Go(func() error { return collect(cfg, results, encoder, progress) })
	return tasks.Wait()
}

// collect writes the records as they come.
func collect(cfg Config, results <-chan chan []Record, encoder *json.Encoder, progress io.Writer) error {
	start, told, done := time.Now(), time.Now(), 0
	for result := range results {
		for _, record := range <-result {
			if err := encoder.Encode(record); err != nil {
				return fmt.Errorf("write manifest: %w", err)
			}
			done++
		}
		if time.Since(told) >= 2*time.Second || done == cfg.Frames {
			told = time.Now()
			rate := float64(done) / time.Since(start).Seconds()
			left := time.Duration(float64(cfg.Frames-done) / max(rate, .001) * float64(time.Second))
			fmt.Fprintf(progress, "%d/%d frames, %.1f/s, %v left\n", done, cfg.Frames, rate, left.Round(time.Second))
		}
	}
	return nil
}

// exportStreet writes the frames of the street that is index after the first. What it returns has been written.
func exportStreet(ctx context.Context, cfg Config, index int) ([]Record, error) {
	seed := cfg.Seed + uint64(index)
	s, err := street.New(cfg.street(seed))
	if err != nil {
		return nil, err
	}
	var records []Record
	var frame street.Frame
	files := newFiles(cfg.Out)
	for i := range min(cfg.PerSeed, cfg.Frames-index*cfg.PerSeed) {
		if err := ctx.Err(); err != nil {
			return records, err
		}
		n := uint64(math.Round(float64(i) * cfg.Step.Seconds() * fps))
		if err := s.Render(n, &frame); err != nil {
			return records, err
		}
		name := fmt.Sprintf("%06d", index*cfg.PerSeed+i+1)
		if err := files.write(name, &frame); err != nil {
			return records, fmt.Errorf("%w: %w", ErrExport, err)
		}
		records = append(records, Record{
			Name: name, Seed: seed, Frame: n, Time: frame.Time.Seconds(), Camera: frame.Camera,
			Objects: append([]street.Object{}, frame.Objects...),
		})
	}
	return records, nil
}
