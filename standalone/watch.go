package standalone

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/gateway"
	"github.com/spatial-flow/spatial-flow/producer"
	"github.com/spatial-flow/spatial-flow/standalone/drawing"
)

// Watch is the command `spatialflow watch`: the viewer as a program.
type Watch struct {
	File    string `arg:"" optional:"" name:"file" help:"A video file, a folder, a picture or a street: run here, with the models in this process, and no picture missed. Without it: what a gateway shows."`
	Gateway string `default:"http://127.0.0.1:8000" help:"The gateway whose scenes are watched."`
	Source  string `short:"s" placeholder:"NAME" help:"The source to watch; without it the first that has a scene."`

	JSON     bool          `name:"json" help:"Print every scene as a line of JSON, as up --scenes writes it."`
	Out      string        `short:"o" placeholder:"FILE" help:"Write a video, .mp4 or .avi: the picture with its boxes, and the depth heat map beside it."`
	FPS      float64       `name:"fps" default:"0" help:"Pictures a second of --out; 0: of a file its own, else 25. A live source keeps its time."`
	Frames   uint64        `placeholder:"N" help:"End after so many scenes."`
	Duration time.Duration `placeholder:"T" help:"End after this time (20s, 5m)."`

	Confidence float32 `default:"0.25" group:"Models, for a file:" help:"Detections must score more than this, 0 to 1."`
	Models     `group:"Models, for a file:"`
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
	if shown.video != nil {
		if e := shown.video.Close(); err == nil {
			err = e
		}
	}
	fmt.Fprintf(progress, "%d scenes, %d dropped", shown.scenes, shown.dropped)
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
func (s *show) scene(ctx context.Context, scene flow.SceneJSON, picture []byte, depth *drawing.Map, paced bool) error {
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

func (s *show) print(scene flow.SceneJSON) error {
	if s.w.JSON {
		return json.NewEncoder(s.out).Encode(scene)
	}
	if s.w.Out != "" {
		return nil // progress is enough
	}
	found := make([]string, 0, len(scene.Detections))
	for _, d := range scene.Detections {
		text := fmt.Sprintf("%s %.2f", d.Label, d.Score)
		if d.Depth != nil {
			text += fmt.Sprintf(" near %.0f%%", d.Depth.Nearness)
		}
		found = append(found, text)
	}
	_, err := fmt.Fprintf(s.out, "%s %d %s: %s\n", scene.Frame.Source, scene.Frame.Seq, scene.Outcome, strings.Join(found, ", "))
	return err
}

// runFile runs the source through a pipeline of its own.
func (w *Watch) runFile(ctx context.Context, s *show, log *slog.Logger) error {
	sink := &fileSink{show: s, ctx: ctx}
	if w.Out != "" {
		var err error
		if sink.pictures, err = producer.OpenPictures(w.File); err != nil {
			return err
		}
		fps := sink.pictures.FPS()
		if fps < .1 || fps > 1000 {
			fps = 25
		}
		if err := s.open(fps); err != nil {
			return errors.Join(err, sink.pictures.Close())
		}
	}
	up := w.lossless(w.Confidence, sink, w.File)
	up.Frames, up.Duration = w.Frames, w.Duration
	if err := up.RunPipeline(ctx, io.Discard, s.progress, log); err != nil {
		return err
	}
	return nil
}

// fileSink shows every scene of a source that is run here, its picture read once more.
type fileSink struct {
	show     *show
	ctx      context.Context
	pictures *producer.Pictures // nil: no picture is needed
	read     uint64
}

func (f *fileSink) Take(scene *flow.Scene) error {
	var picture []byte
	for f.pictures != nil && f.read < scene.Seq {
		f.read++
		var err error
		if picture, err = f.pictures.Next(f.ctx); err != nil && !errors.Is(err, producer.ErrPicture) {
			return fmt.Errorf("read picture %d again: %w", f.read, err)
		}
	}
	return f.show.scene(f.ctx, scene.JSON(), picture, mapOf(scene.Depth, scene.Range), false)
}

func (f *fileSink) Close() error {
	if f.pictures == nil {
		return nil
	}
	return f.pictures.Close()
}

func mapOf(depth *flow.DepthMap, stable *flow.DepthRange) *drawing.Map {
	if depth == nil {
		return nil
	}
	return &drawing.Map{DepthMap: depth, Range: stable}
}

const (
	watchSilence  = 10 * time.Second // a status comes every second, so the connection is dead
	watchLargest  = 64 << 20         // bytes of a message
	watchAgain    = time.Second      // between two tries to connect
	watchPatience = 3 * time.Second  // for the first scene of a source that has ended
)

// What ends watching.
var (
	errWatched = errors.New("watched") // there is nothing more to see
	errOutput  = errors.New("output")  // what is seen can't be written
)

// watchGateway shows what a gateway sends, and connects again when the connection is lost.
func (w *Watch) watchGateway(ctx context.Context, s *show) error {
	if w.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, w.Duration)
		defer cancel()
	}
	c := &watched{w: w, show: s}
	for told := false; ; {
		connected, err := c.connect(ctx)
		if errors.Is(err, errOutput) {
			return err
		}
		if errors.Is(err, errWatched) || ctx.Err() != nil {
			return nil
		}
		var refused websocket.CloseError
		if errors.As(err, &refused) && refused.Code == websocket.StatusPolicyViolation {
			return err
		}
		if !connected && c.show.scenes == 0 {
			return fmt.Errorf("watch %s: %w (is a gateway there? spatialflow up and make demo start one)", w.Gateway, err)
		}
		if connected || !told {
			fmt.Fprintf(s.progress, "connecting again: %v\n", err)
			told = true
		}
		bus.Sleep(ctx, watchAgain)
	}
}

// watched is what was seen of a gateway.
type watched struct {
	w       *Watch
	show    *show
	source  string // that is shown; empty: the first that comes
	session string
	last    uint64 // seq of the last scene shown
	dropped uint64 // before this connection
	idle    time.Time
}

// connect shows what comes over one connection. connected says that something did.
func (c *watched) connect(ctx context.Context) (connected bool, err error) {
	address := strings.TrimSuffix(strings.Replace(c.w.Gateway, "http", "ws", 1), "/") + "/ws"
	dial, cancel := context.WithTimeout(ctx, watchSilence)
	defer cancel()
	conn, _, err := websocket.Dial(dial, address, nil)
	if err != nil {
		return false, err
	}
	defer conn.CloseNow()
	conn.SetReadLimit(watchLargest)
	if c.source == "" {
		c.source = c.w.Source
	}
	sources := []string{}
	if c.source != "" {
		sources = append(sources, c.source)
	}
	ask, err := json.Marshal(gateway.Watch{Sources: sources})
	if err != nil {
		return false, err
	}
	if err := conn.Write(dial, websocket.MessageText, ask); err != nil {
		return false, err
	}
	c.dropped = c.show.dropped
	for {
		within, cancel := context.WithTimeout(ctx, watchSilence)
		kind, data, err := conn.Read(within)
		cancel()
		if err != nil {
			return connected, err
		}
		connected = true
		if kind == websocket.MessageText {
			err = c.status(data)
		} else {
			err = c.scene(ctx, data)
		}
		if err != nil {
			if errors.Is(err, errWatched) {
				_ = conn.Close(websocket.StatusNormalClosure, "") // it has been read to the end either way
			}
			return true, err
		}
	}
}

// status returns errWatched when the source has ended and its last scene was shown.
func (c *watched) status(data []byte) error {
	var status gateway.Status
	if err := json.Unmarshal(data, &status); err != nil {
		return fmt.Errorf("status: %w", err)
	}
	for _, s := range status.Sources {
		if s.Source != c.source || s.State != flow.StateComplete && s.State != flow.StateStopped && s.State != flow.StateFailed {
			continue
		}
		if c.idle.IsZero() {
			c.idle = time.Now()
		}
		if s.Session == c.session && c.last >= s.Seq || time.Since(c.idle) > watchPatience {
			fmt.Fprintf(c.show.progress, "%s is %s %s\n", s.Source, s.State, s.Reason)
			return errWatched
		}
		return nil
	}
	c.idle = time.Time{}
	return nil
}

// scene shows a scene message; see [gateway.SceneHeader].
func (c *watched) scene(ctx context.Context, data []byte) error {
	header, picture, depth, err := parseScene(data)
	if err != nil {
		return err
	}
	if c.source == "" {
		c.source = header.Frame.Source
	}
	if header.Frame.Source != c.source || header.Frame.Session == c.session && header.Frame.Seq <= c.last {
		return nil // another source; or shown, before the connection was lost
	}
	if c.session != header.Frame.Session {
		c.show.painter.Forget()
	}
	c.session, c.last = header.Frame.Session, header.Frame.Seq
	c.show.dropped = c.dropped + header.Dropped
	if err := c.show.open(25); err != nil {
		return fmt.Errorf("%w: %w", errOutput, err)
	}
	if err := c.show.scene(ctx, header.SceneJSON, picture, depth, header.Mode == flow.ModeLive); err != nil {
		return fmt.Errorf("%w: %w", errOutput, err)
	}
	if c.w.Frames > 0 && c.show.scenes >= c.w.Frames {
		return errWatched
	}
	return nil
}

// errMessage is returned when a gateway sends something else than a scene.
var errMessage = errors.New("bad scene message")

// parseScene takes a message apart: length of the header, header, picture, depth.
func parseScene(data []byte) (header gateway.SceneHeader, picture []byte, depth *drawing.Map, err error) {
	if len(data) < 4 {
		return header, nil, nil, fmt.Errorf("%w: %d bytes", errMessage, len(data))
	}
	n := int64(binary.LittleEndian.Uint32(data))
	rest := data[4:]
	if n > int64(len(rest)) {
		return header, nil, nil, fmt.Errorf("%w: a header of %d bytes in %d", errMessage, n, len(rest))
	}
	if err := json.Unmarshal(rest[:n], &header); err != nil {
		return header, nil, nil, fmt.Errorf("%w: header: %w", errMessage, err)
	}
	rest = rest[n:]
	bytes := 0
	if header.Depth != nil {
		bytes = header.Depth.Bytes
	}
	if header.PictureBytes < 0 || bytes < 0 || header.PictureBytes > len(rest) || bytes != len(rest)-header.PictureBytes {
		return header, nil, nil, fmt.Errorf("%w: %d bytes of picture and %d of depth in %d", errMessage, header.PictureBytes, bytes, len(rest))
	}
	picture = rest[:header.PictureBytes]
	if header.Depth == nil {
		return header, picture, nil, nil
	}
	if header.Depth.DepthMap == nil {
		return header, nil, nil, fmt.Errorf("%w: depth without a map", errMessage)
	}
	header.Depth.DepthMap.Data = rest[header.PictureBytes:]
	if err := header.Depth.DepthMap.Validate(); err != nil {
		return header, nil, nil, fmt.Errorf("%w: %w", errMessage, err)
	}
	return header, picture, mapOf(header.Depth.DepthMap, header.Depth.Range), nil
}
