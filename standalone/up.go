// Package standalone is the whole pipeline in one process: every stage over an embedded NATS server.
package standalone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/producer"
	"github.com/spatial-flow/spatial-flow/standalone/scratch"
	"github.com/spatial-flow/spatial-flow/standalone/stdio"
)

// None is what --detect-model and --depth-model say to leave a group out.
const None = "none"

// Up is the command `spatialflow up`: its flags, and what it runs.
type Up struct {
	Source     []string           `placeholder:"[NAME=]URI[#KEY=VALUE&…]" sep:"none" help:"A video file, a folder of pictures, a picture, a camera (rtsp://…, rtsps://…; http://… or https://…, as MJPEG or a picture for each request; or the number of a device), a film at http://…, or a generated street that never ends (street:?seed=7&fps=30&size=640x360&split=all); may be repeated; without any, pictures are only taken at POST /predict. Settings of its own follow a #: rtsp://…#fps=10&max_side=1280 (mode, fps, loop, quality, max_side; of a folder watch=true: take the files that come later too; of cameras also decode=all, keys or auto, which goes to key frames while there is not time for all, and verify=false, which takes any TLS certificate). NAME is how the source is called everywhere; without it, it is the base name."`
	SourceFile string             `placeholder:"FILE" help:"File of further sources, one a line as --source takes it; empty lines, and those that begin with #, are passed over. It is read again when it changes, and sources come and go with their lines; a line that is wrong is logged, and the others go on; but with --exit-when-done it is read once, as a whole. Keep passwords of cameras there, or in the environment (rtsp://$${CAM_USER}:$${CAM_PASSWORD}@…): everybody on a machine sees its command lines."`
	Mode       flow.Mode          `enum:",live,lossless" default:"" help:"What happens when the pipeline is busy: lossless waits and loses nothing; live takes the newest picture and skips others. Without it: lossless for files and folders, live for cameras and streets."`
	FPS        float64            `name:"fps" default:"0" help:"live: pictures a second of a file, 0 as fast as it says; of a camera, at most, 0 all."`
	Loop       bool               `help:"live: a file begins again at its end, as a new session."`
	MaxSide    int                `default:"0" placeholder:"PIXELS" help:"Pictures whose longer side is longer are made smaller before they are sent; 0: none."`
	Required   []string           `placeholder:"GROUP" help:"live: take only frames that these groups take too."`
	MaxRate    map[string]float64 `placeholder:"GROUP=RATE" help:"live: frames a second that a group is given at most."`

	Group []string `placeholder:"NAME[=NEED]" help:"A worker group of your own, whose workers are programs that come by --nats-listen; NEED is required, optional (without it) or shadow; may be repeated."`

	Models
	Confidence float32 `default:"0.25" help:"Detections must score more than this, 0 to 1."`

	HTTP       string   `default:"127.0.0.1:8000" help:"Address of the viewer page, the websocket and the REST API."`
	Origins    []string `placeholder:"HOST" help:"Hosts, besides its own, whose pages may open the websocket, and, on the loopback address, by whose name it may be called (behind a proxy); * stands for any part of a name."`
	NATSListen string   `name:"nats-listen" placeholder:"ADDRESS" help:"Address, as 127.0.0.1:4222, where the embedded NATS server is reached from outside, for nats pub --no-templates ingest.cam1 <picture.jpg; without it: nowhere. It asks for no password: give a loopback address."`
	Admin      string   `default:"127.0.0.1:8001" help:"Address of /metrics, /healthz, /readyz and, over the loopback address alone, /drain and /debug/pprof; empty: none."`
	Frames     uint64   `placeholder:"N" help:"Take only the first N pictures of each source."`
	Window     int      `default:"32" help:"Frames of a source that may be under way at once."`
	Strict     bool     `help:"A film with broken packets fails, once all of it is read; without it they are counted and warned of. One that ends early, or has no picture, fails anyway."`
	DecodeArgs string   `placeholder:"WORDS" help:"Further options for the ffmpeg that decodes films, put before its input: --decode-args='-hwaccel cuda'."`
	Quality    int      `default:"90" help:"JPEG quality, 1 to 100, of frames that are encoded here."`

	DataDir      string        `placeholder:"DIR" help:"Where NATS stores; a temporary folder, removed at the end, when it is not given."`
	Run          string        `placeholder:"NAME" help:"Names this run, so that the same command goes on where a killed one stopped; needs --data-dir."`
	Duration     time.Duration `placeholder:"T" help:"Stop the sources after this time (20s, 5m), wait up to 30 s for what is under way, sum up, and end."`
	ExitWhenDone bool          `help:"End when every source is complete, instead of serving on."`
	Scenes       string        `placeholder:"FILE" help:"Write every scene as a line of JSON, in order; with --run an existing file is completed. - is standard output; the summary then goes to standard error."`

	LogLevel  slog.Level `default:"info" help:"Least level that is logged: debug, info, warn or error."`
	LogFormat string     `enum:"text,json" default:"text" help:"Format of the log, on standard error: text or json."`

	// Listening, when set, is told the address of the viewer page.
	Listening func(net.Addr) `kong:"-"`

	drain   time.Duration // what a stop waits for the frames that are under way; 0: 30 s
	scenes  io.Writer     // set: takes the scenes that --scenes asks for
	sink    sceneSink     // set: is given every scene, and --scenes is not written
	unpaced bool          // generated sources run ahead of their clock
}

// Validate returns [ErrUsage] or [ErrNoModel], with the way out, when the flags make no pipeline.
func (u *Up) Validate() error {
	switch {
	case u.Run != "" && u.DataDir == "":
		return fmt.Errorf("%w: --run needs --data-dir: a temporary folder has nothing to go on from", ErrUsage)
	case u.Duration < 0:
		return fmt.Errorf("%w: --duration %v is in the past", ErrUsage, u.Duration)
	case len(u.Source) == 0 && u.SourceFile == "" && u.ExitWhenDone:
		return fmt.Errorf("%w: no --source, so --exit-when-done would end at once: give a video file, a folder of pictures, a picture, or street: (make demo SOURCE=…)", ErrUsage)
	case u.DetectModel == None && u.DepthModel == None:
		return fmt.Errorf("%w: detection and depth are both left out: give one of --detect-model and --depth-model a file, or nothing for the demo model", ErrNoModel)
	}
	for flag, model := range map[string]string{"--detect-model": u.DetectModel, "--depth-model": u.DepthModel} {
		if model == "" || model == None {
			continue
		}
		if info, err := os.Stat(model); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrUsage, flag, err)
		} else if info.IsDir() {
			return fmt.Errorf("%w: %s: %s is a folder, give the .onnx file in it", ErrUsage, flag, model)
		}
	}
	groups, err := u.groups(nil)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUsage, err)
	}
	for _, group := range here(groups) {
		if _, err := u.worker(group); err != nil {
			return fmt.Errorf("%w: %w", ErrUsage, err)
		}
	}
	cfg, err := u.producer()
	if err == nil {
		err = cfg.Validate()
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUsage, err)
	}
	if live := cfg.LiveSources(); len(live) > 0 && u.Scenes != "" {
		return fmt.Errorf("%w: --scenes writes every scene of lossless sources, and %s is live: give it #mode=lossless, or --mode lossless", ErrUsage, live[0])
	}
	return nil
}

// RunPipeline brings the pipeline up, runs the sources through it, and takes it down again: sources first, then, when
// nothing is under way any more, everything else. progress gets the lines that a person watches, out the summary, or, when
// --scenes names it, the scenes: then the summary is progress too.
// [flow.ErrAccount] is returned when a frame was lost or counted twice, [ErrSource] when a source failed, and
// [ErrScenes] when a scene is missing in the file.
func (u *Up) RunPipeline(ctx context.Context, out, progress io.Writer, log *slog.Logger) (err error) {
	if err := u.Validate(); err != nil {
		return err
	}
	dir, remove, err := u.dataDir()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	board := producer.NewBoard()
	ctx, drain := context.WithCancel(ctx)
	defer drain()
	summary := out
	if u.Scenes != "" && stdio.Is(u.Scenes, out) {
		u.scenes, summary = out, progress
	}
	p, err := u.start(ctx, drain, dir, board, log)
	if err != nil {
		return err
	}
	err = p.follow(ctx, progress)
	err = errors.Join(err, p.stop())
	writeSummary(summary, board.Summaries())
	return errors.Join(err, verdict(board.Statuses()))
}

// dataDir is --data-dir, or a temporary folder that remove removes.
func (u *Up) dataDir() (dir string, remove func() error, err error) {
	if u.DataDir != "" {
		dir, err := filepath.Abs(u.DataDir)
		return dir, func() error { return nil }, err
	}
	return scratch.Folder()
}

// verdict is what the sources' ends and accounts say about the whole.
func verdict(statuses []flow.SourceStatus) error {
	var errs []error
	for _, s := range statuses {
		if s.State == flow.StateFailed {
			errs = append(errs, fmt.Errorf("%w: %s: %s", ErrSource, s.Source, s.Reason))
		}
		if err := s.Account.CheckAtRest(); err != nil {
			errs = append(errs, fmt.Errorf("source %s: %w", s.Source, err))
		}
	}
	return errors.Join(errs...)
}

// Models are the flags of commands that run the models in this process.
type Models struct {
	DetectModel string `placeholder:"FILE" help:"ONNX file of the detection group (YOLOv8 family, raw head); none leaves the group out. Without it: a small model trained on the generated street."`
	DepthModel  string `placeholder:"FILE" help:"ONNX file of the depth group (Depth Anything V1 or V2); none leaves the group out. Without it: a small model trained on the generated street."`
	DepthSize   int    `default:"518" help:"Shorter side, in pixels, of the depth model's input, for models of free size."`
	Provider    string `enum:"cpu,cuda,tensorrt" default:"cpu" help:"ONNX Runtime execution provider: cpu, cuda or tensorrt (the latter two have not run on hardware yet)."`
	Parallel    int    `default:"2" help:"Frames that each group works on at once."`
	Threads     int    `default:"0" help:"Threads of one inference; 0: the CPUs of this process (cgroup) shared among --parallel."`
	Onnxruntime string `placeholder:"FILE" help:"libonnxruntime; else it is looked for in the user's cache folder (make install puts it there) and in the system's places."`
}

// lossless is a pipeline that gives every scene of the sources, in order, to the sink, and ends.
func (m *Models) lossless(confidence float32, sink sceneSink, sources ...string) *Up {
	return &Up{
		Source: sources, Mode: flow.ModeLossless, Models: *m, Confidence: confidence,
		HTTP: "127.0.0.1:0", Window: 16, Quality: 90, ExitWhenDone: true, sink: sink, unpaced: true,
	}
}
