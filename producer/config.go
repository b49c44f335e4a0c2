// Package producer takes pictures from sources and publishes them as frames. A lossless source waits for the
// pipeline: at most a window of its frames is under way, and every frame is followed until its scene is stored.
package producer

import (
	"fmt"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/producer/account"
	"github.com/spatial-flow/spatial-flow/producer/live"
	"github.com/spatial-flow/spatial-flow/producer/lossless"
	"github.com/spatial-flow/spatial-flow/producer/manage"
	"github.com/spatial-flow/spatial-flow/producer/source"
	"github.com/spatial-flow/spatial-flow/producer/source/coded"
	"github.com/spatial-flow/spatial-flow/producer/source/ffmpeg"
)

// Board shows how the sources of a producer are doing.
type Board = account.Board

// Summary is what there is to say of a source in the end.
type Summary = account.Summary

// NewBoard is an empty board, for one [Run].
func NewBoard() *Board { return account.NewBoard() }

// MaxSources is how many sources one producer has at most unless --max-sources says otherwise.
const MaxSources = 64

// mostSources bounds what --max-sources and --ingest-sources may say.
const mostSources = 1024

// Capture is what sources there are and how they are read: the settings that every program with a producer in it has.
type Capture struct {
	Sources        []string           `name:"source" sep:"none" placeholder:"[NAME=]URI[#KEY=VALUE&…]" help:"A video file, a folder of pictures (JPEG, PNG, BMP, WebP, TIFF, GIF; in order of their names, numbers by value), a picture, a camera (rtsp://…, rtsps://…; http://… or https://…, as MJPEG or a picture for each request; or the number of a device), a film at http://…, or a generated street that never ends (street:?seed=7&fps=30&size=640x360&split=all); may be repeated. Settings of its own follow a #: rtsp://…#fps=10&max_side=1280 (mode, fps, loop, quality, max_side; of a folder watch=true: take the files that come later too; of cameras also decode=all, keys or auto, which goes to key frames while there is not time for all, and verify=false, which takes any TLS certificate). NAME ([A-Za-z0-9_-], at most 64) is how the source is called everywhere; without it, it is the base name."`
	SourceFile     string             `placeholder:"FILE" help:"File of further sources, one a line as --source takes it; empty lines, and those that begin with #, are passed over. It is read again when it changes, and sources come and go with their lines; a line that is wrong is logged, and the others go on; but with --exit-when-done it is read once, as a whole. Keep passwords of cameras there, or in the environment (rtsp://$${CAM_USER}:$${CAM_PASSWORD}@…): everybody on a machine sees its command lines."`
	AllowSource    []string           `sep:"none" placeholder:"PATTERN" help:"Sources that may be configured at run time, through a gateway with --manage-sources: rtsp://*, rtsp://10.0.0.*, https://*.cameras.example:8443/live/*, or street:*; may be repeated. * stands for any part of the scheme, of one label of the host (alone: any host), of the path, or of the query, which is any where the path ends with one; without a port, or a path, any will do. Without it none may; local files, folders and devices never. They are kept in NATS, and carried by any producer that allows them."`
	CredentialFile string             `placeholder:"FILE" help:"File of the users and passwords that configured sources name: a line each, NAME user:password, or NAME PATTERN user:password for one that is sent to no other address. It is read again when it changes. One that it has not is taken from the environment (SPATIALFLOW_CREDENTIAL_FRONT_DOOR for front-door)."`
	Run            string             `placeholder:"NAME" help:"Names this run, so that the same sources, started again, go on where they stopped (of up: with --data-dir); without it every start begins anew."`
	Mode           flow.Mode          `enum:",live,lossless" default:"" help:"What happens when the pipeline is busy: lossless waits and loses nothing; live takes the newest picture and skips others. Without it: lossless for files and folders, live for cameras and streets."`
	FPS            float64            `name:"fps" default:"0" help:"live: pictures a second of a file, 0 as fast as it says; of a camera, at most, 0 all."`
	Loop           bool               `help:"live: a file begins again at its end, as a new session."`
	MaxSide        int                `default:"0" placeholder:"PIXELS" help:"Pictures whose longer side is longer are made smaller before they are sent; 0: none."`
	Required       []string           `placeholder:"GROUP" help:"live: take only frames that these groups take too."`
	MaxRate        map[string]float64 `placeholder:"GROUP=RATE" help:"live: frames a second that a group is given at most."`
	Window         int                `default:"32" help:"Frames of a source, 1 to 1024, that may be under way at once: admitted, and their scene not yet stored."`
	Frames         uint64             `placeholder:"N" help:"Take only the first N pictures of each source."`
	Quality        int                `default:"90" help:"JPEG quality, 1 to 100, of frames that are encoded here: video, and pictures that are no JPEG or must be turned."`
	Strict         bool               `help:"A film with broken packets fails, once all of it is read; without it they are counted and warned of. One that ends early, or has no picture, fails anyway."`
	DecodeArgs     string             `placeholder:"WORDS" help:"Further options for the ffmpeg that decodes films, put before its input: --decode-args='-hwaccel cuda'."`
	ExitWhenDone   bool               `help:"End when every source has ended, instead of staying to be seen: with 0 when all are complete, with 1 when one failed or a stop came first."`
}

// Config is the producer's settings.
type Config struct {
	Capture

	Ingest          bool          `help:"Take the pictures that anyone publishes to ingest.<source>; of several producers with it one does, the others stand by."`
	Budget          time.Duration `default:"500ms" help:"live: how long a frame may wait, in each of its queues; a worker that comes to it later drops it."`
	WindowMemory    int64         `default:"536870912" placeholder:"BYTES" help:"What the pictures of all lossless frames under way may take together, 1 to 2^40: they are kept until they have their scenes. Each source has an equal part, at most 32 MiB, and may have one picture beyond it all, while it has no other under way."`
	Takeover        string        `enum:"share,never" default:"share" help:"What happens when another producer has a source of the same name: share stands by for it, and producers with the same sources have equal parts of them (a lossless one needs --run for it); never fails the source."`
	MaxSources      int           `default:"64" placeholder:"N" help:"Sources at most, 1 to 1024."`
	IngestSources   int           `default:"64" placeholder:"N" help:"Sources at most, 1 to 1024, that are ingested at once; one that is silent for a minute makes room for another, one that is for ten is forgotten."`
	StoreTimeout    time.Duration `default:"60s" help:"How long a frame is tried to be stored while NATS is away, before its source fails."`
	Silence         time.Duration `default:"2s" help:"A frame that nothing was heard of for so long is looked up among the stored scenes."`
	PositionTimeout time.Duration `default:"5s" help:"How long, at the end of a source, its position may take to reach the last frame."`
	Drain           time.Duration `default:"30s" help:"How long a stop waits for the frames that are under way."`

	// Unpaced lets generated sources run ahead of their clock, as fast as the pipeline takes their pictures.
	Unpaced bool `kong:"-"`
	// Status, when set, shows the sources to the caller too.
	Status *Board `kong:"-"`
}

// LiveSources names those of the sources whose mode is live. The settings must be valid.
func (c Config) LiveSources() []string {
	specs, _ := c.specs() // tried by Validate
	var names []string
	for _, s := range specs {
		if !isLossless(s) {
			names = append(names, s.Name)
		}
	}
	return names
}

// Stopped is what a stop before the sources' end comes to: [ErrStopped] with ExitWhenDone, else nil.
func (c Config) Stopped() error {
	if c.ExitWhenDone {
		return ErrStopped
	}
	return nil
}

// Validate returns [ErrConfig], [ErrSourceName] or [ErrUnsupported], naming the flag, when the settings can't be run.
func (c Config) Validate() error {
	switch {
	case c.Run != "" && flow.ValidToken("--run", c.Run) != nil:
		return fmt.Errorf("%w: %w", ErrConfig, flow.ValidToken("--run", c.Run))
	case c.Window < 1 || c.Window > 1024:
		return fmt.Errorf("%w: --window %d is not 1 to 1024", ErrConfig, c.Window)
	case c.WindowMemory < 1 || c.WindowMemory > 1<<40:
		return fmt.Errorf("%w: --window-memory %d is not 1 to 2^40", ErrConfig, c.WindowMemory)
	case c.MaxSources < 1 || c.MaxSources > mostSources || c.IngestSources < 1 || c.IngestSources > mostSources:
		return fmt.Errorf("%w: --max-sources %d and --ingest-sources %d must be 1 to %d", ErrConfig, c.MaxSources, c.IngestSources, mostSources)
	case c.settings().Validate() != nil:
		return fmt.Errorf("%w: --%w", ErrConfig, c.settings().Validate())
	case c.Budget <= 0:
		return fmt.Errorf("%w: --budget %v must be more than 0", ErrConfig, c.Budget)
	case c.StoreTimeout <= 0 || c.Silence <= 0 || c.PositionTimeout <= 0:
		return fmt.Errorf("%w: --store-timeout, --silence and --position-timeout must be more than 0", ErrConfig)
	case c.Drain < 0:
		return fmt.Errorf("%w: --drain %v is in the past", ErrConfig, c.Drain)
	case len(c.AllowSource) > 0 && c.ExitWhenDone:
		return fmt.Errorf("%w: --allow-source is never done: leave --exit-when-done out", ErrConfig)
	case len(c.AllowSource) > 0 && c.Takeover == "never":
		return fmt.Errorf("%w: configured sources are whose producer is there: leave --allow-source or --takeover=never out", ErrConfig)
	case len(c.AllowSource) == 0 && c.CredentialFile != "":
		return fmt.Errorf("%w: --credential-file is for sources that --allow-source lets be configured", ErrConfig)
	case c.Ingest && c.ExitWhenDone:
		return fmt.Errorf("%w: --ingest is never done: leave --exit-when-done out", ErrConfig)
	}
	for group, rate := range c.MaxRate {
		if !(rate > 0 && rate <= source.MaxFPS) {
			return fmt.Errorf("%w: --max-rate %s=%v is not more than 0, at most %d", ErrConfig, group, rate, source.MaxFPS)
		}
	}
	if _, err := manage.ParsePatterns(c.AllowSource); err != nil {
		return fmt.Errorf("%w: --allow-source: %w", ErrConfig, err)
	}
	if c.CredentialFile != "" {
		if _, err := c.credentialFile().read(); err != nil {
			return err
		}
	}
	if _, err := ffmpeg.DecodeArgs(c.DecodeArgs); err != nil {
		return fmt.Errorf("%w: --decode-args: %w", ErrConfig, err)
	}
	specs, err := c.specs()
	for _, s := range specs {
		if s.Settings.Watch && c.Run != "" { // a picture's number is its turn to come, which nobody can tell again
			return fmt.Errorf("%w: --run can't go on with the watched folder %s: leave --run or watch=true out", ErrConfig, s.URI)
		}
	}
	return err
}

// specs takes the sources of --source and of --source-file apart. What is wrong in the file is passed over as long as anything is left,
// unless all are to be done.
func (c Config) specs() ([]source.Spec, error) {
	t, err := c.sources()
	return t.specs, err
}

func (c Config) settings() source.Settings {
	return source.Settings{Mode: c.Mode, FPS: c.FPS, Loop: c.Loop, Quality: c.Quality, MaxSide: c.MaxSide}
}

func (c Config) lossless() lossless.Config {
	return lossless.Config{
		Source: source.Options{Frames: c.Frames, Unpaced: c.Unpaced, Film: c.film()}, Run: c.Run, Window: c.Window, StoreTimeout: c.StoreTimeout,
		Silence: c.Silence, PositionTimeout: c.PositionTimeout, Drain: c.Drain,
	}
}

func (c Config) live() live.Config {
	return live.Config{Frames: c.Frames, Budget: c.Budget, Required: c.Required, MaxRate: c.MaxRate, Drain: c.Drain, Film: c.film(), Load: new(coded.Load)}
}

// film is how films are read. The settings must be valid.
func (c Config) film() source.Film {
	args, _ := ffmpeg.DecodeArgs(c.DecodeArgs) // tried by Validate
	return source.Film{Strict: c.Strict, DecodeArgs: args}
}
