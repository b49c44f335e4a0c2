package standalone

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/client/label"
	"github.com/spatial-flow/spatial-flow/gateway/credentials"
	"github.com/spatial-flow/spatial-flow/standalone/drawing"
	"github.com/spatial-flow/spatial-flow/standalone/stdio"
)

// Watch is the command `spatialflow watch`: the viewer as a program.
type Watch struct {
	File    string `arg:"" optional:"" name:"file" help:"A video file, a folder, a picture or a street: run here, with the models in this process, and no picture missed. Without it: what a gateway shows."`
	Gateway string `default:"http://127.0.0.1:8000" help:"The gateway whose scenes are watched."`
	Source  string `short:"s" placeholder:"NAME" help:"The source to watch; without it the first that is running, else the first that has a scene."`

	JSON     bool          `name:"json" help:"Print every scene as a line of JSON, as up --scenes writes it."`
	Out      string        `short:"o" placeholder:"FILE" help:"Write a video, .mp4 or .avi: the picture with its boxes, and the depth heat map beside it."`
	FPS      float64       `name:"fps" default:"0" help:"Pictures a second of --out; 0: of a file its own, else 25. A live source keeps its time."`
	Frames   uint64        `placeholder:"N" help:"End after so many scenes."`
	Duration time.Duration `placeholder:"T" help:"End after this time (20s, 5m)."`

	credentials.Flags `group:"Gateway:"`

	Models `group:"Models, for a file:"`
}

// Validate returns [ErrUsage] when the flags don't go together.
func (w *Watch) Validate() error {
	u, err := url.Parse(w.Gateway)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return fmt.Errorf("%w: --gateway %q is no address like http://127.0.0.1:8000", ErrUsage, w.Gateway)
	case w.File != "" && w.Source != "":
		return fmt.Errorf("%w: --source is of a gateway's sources, and %s is run here", ErrUsage, w.File)
	case w.FPS < 0 || w.FPS > 1000:
		return fmt.Errorf("%w: --fps %v is not 0 to 1000", ErrUsage, w.FPS)
	case w.Duration < 0:
		return fmt.Errorf("%w: --duration %v is in the past", ErrUsage, w.Duration)
	case w.Out == stdio.Standard:
		return fmt.Errorf("%w: --out -: a video is written to a file; scenes go to standard output with --json", ErrUsage)
	case w.File != "" && w.Out != "" && sameFile(w.Out, w.File, fileOf(w.File)):
		return fmt.Errorf("%w: --out %s is the video to watch", ErrUsage, w.Out)
	}
	return nil
}

// fileOf is the path in a source's spec: name=path#settings.
func fileOf(spec string) string {
	if _, path, named := strings.Cut(spec, "="); named {
		spec = path
	}
	path, _, _ := strings.Cut(spec, "#")
	return path
}

// sameFile tells whether a path is one of others that are there, by whatever name.
func sameFile(path string, others ...string) bool {
	info, err := os.Stat(path)
	return err == nil && slices.ContainsFunc(others, func(other string) bool {
		its, err := os.Stat(other)
		return err == nil && os.SameFile(info, its)
	})
}

// RunWatch watches until ctx ends, the source does, or --frames or --duration say so. Scenes go to out, what a person
// wants to know besides to progress.
func (w *Watch) RunWatch(ctx context.Context, out, progress io.Writer, log *slog.Logger) error {
	shown := &show{w: w, out: out, progress: progress, painter: drawing.NewPainter()}
	defer shown.painter.Close()
	run := w.watchGateway
	if w.File != "" {
		run = func(ctx context.Context, s *show) error { return w.runFile(ctx, s, log) }
	}
	err := run(ctx, shown)
	part := ""
	switch {
	case shown.video == nil:
	case err != nil:
		part = shown.video.Leave()
	default:
		err = shown.video.Close()
	}
	fmt.Fprintf(progress, "%d scenes, %d dropped", shown.scenes, shown.dropped)
	if part != "" {
		fmt.Fprintf(progress, "; what there was is in %s", part)
	}
	if shown.video != nil && err == nil {
		fmt.Fprintf(progress, "; %s: %d pictures", w.Out, shown.video.Frames())
	}
	fmt.Fprintln(progress)
	return err
}

// show prints and draws scenes.
type show struct {
	w        *Watch
	out      io.Writer
	progress io.Writer
	painter  *drawing.Painter
	video    *drawing.Video // nil: none is written, or not begun

	scenes, dropped uint64
	began           time.Time // capture of what the video begins with
	last            time.Time // capture of the last scene in it
	session         string    // of that
}

// open begins the video at this pace, unless none is wanted.
func (s *show) open(fps float64) (err error) {
	if s.w.Out == "" || s.video != nil {
		return nil
	}
	if s.w.FPS > 0 {
		fps = s.w.FPS
	}
	s.video, err = drawing.NewVideo(s.w.Out, fps)
	return err
}

// longestPause is how long a live source's video stands still where the source did.
const longestPause = 10 * time.Second

// scene shows one scene. paced says that its time in the video is that of its capture.
func (s *show) scene(ctx context.Context, scene api.Scene, picture []byte, depth *drawing.Map, paced bool) error {
	if err := s.print(scene); err != nil {
		return err
	}
	s.scenes++
	if s.video == nil {
		return nil
	}
	drawn, err := s.painter.Draw(picture, scene.Size, scene.Detections, depth)
	if err != nil {
		return fmt.Errorf("scene %s: %w", scene.Frame, err)
	}
	if !paced {
		return s.video.Add(drawn)
	}
	step := scene.Captured.Sub(s.last)
	again := s.session != scene.Frame.Session || step < 0 || step > longestPause
	s.session, s.last = scene.Frame.Session, scene.Captured
	if again {
		s.began = scene.Captured.Add(-time.Duration(s.video.Seconds() * float64(time.Second)))
		return s.video.Add(drawn)
	}
	return s.video.Until(ctx, scene.Captured.Sub(s.began).Seconds(), drawn)
}

func (s *show) print(scene api.Scene) error {
	if s.w.JSON {
		return json.NewEncoder(s.out).Encode(scene)
	}
	if s.w.Out != "" {
		return nil // progress is enough
	}
	found := make([]string, 0, len(scene.Detections))
	for _, d := range scene.Detections {
		found = append(found, label.Texts(d)[0])
	}
	_, err := fmt.Fprintf(s.out, "%s %d %s: %s\n", scene.Frame.Source, scene.Frame.Seq, scene.Outcome, strings.Join(found, ", "))
	return err
}
