// Package standalone is the program spatialflow: its commands.
package standalone

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/natsserver"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/gateway"
	"github.com/spatial-flow/spatial-flow/producer"
	"github.com/spatial-flow/spatial-flow/standalone/pipeline"
)

// Up is the command `spatialflow up`: every stage in this process, over an embedded NATS server.
type Up struct {
	producer.Capture

	Group []string `placeholder:"NAME[=NEED]" help:"A worker group of your own, whose workers are programs that come by --nats-listen; NEED is required, optional (without it) or shadow; may be repeated."`

	Models

	gateway.Reached

	NATSListen string `name:"nats-listen" placeholder:"ADDRESS" help:"Address, as 127.0.0.1:4222, where the embedded NATS server is reached from outside, for nats pub --no-templates ingest.cam1 <picture.jpg; without it: nowhere. On a loopback address it asks for no password unless --nats-users says of whom; elsewhere it wants that."`
	NATSUsers  string `name:"nats-users" placeholder:"FILE" type:"existingfile" help:"What spatialflow nats-config printed: its users, and what each may do, are those of --nats-listen, and so is its TLS."`

	service.AdminAddress

	DataDir  string        `placeholder:"DIR" help:"Where NATS stores; a temporary folder, removed at the end, when it is not given."`
	Duration time.Duration `placeholder:"T" help:"Stop the sources after this time (20s, 5m), wait up to 30 s for what is under way, sum up, and end."`
	Scenes   string        `placeholder:"FILE" help:"Write every scene as a line of JSON, in order; with --run an existing file is completed. - is standard output; the summary then goes to standard error."`

	LogLevel  slog.Level `default:"info" help:"Least level that is logged: debug, info, warn or error."`
	LogFormat string     `enum:"text,json" default:"text" help:"Format of the log, on standard error: text or json."`
}

// Validate returns [ErrUsage] or [ErrNoModel], with the way out, when the flags make no pipeline.
func (u *Up) Validate() error {
	_, err := u.pipeline()
	return err
}

// pipeline is what the flags ask for.
func (u *Up) pipeline() (pipeline.Config, error) {
	cfg, err := pipeline.Default()
	if err != nil {
		return cfg, err
	}
	cfg.Producer.Capture, cfg.Producer.Ingest = u.Capture, !u.ExitWhenDone
	cfg.Gateway.Reached = u.Reached
	cfg.NATSUsers = u.NATSUsers
	cfg.DataDir, cfg.NATSListen, cfg.Admin, cfg.Duration, cfg.SceneFile = u.DataDir, u.NATSListen, u.AdminAddress, u.Duration, u.Scenes
	switch {
	case !natsserver.Listen(u.NATSListen).Loopback() && u.NATSUsers == "":
		return cfg, fmt.Errorf("%w: --nats-listen %s is for other machines too, which would do as they like: say who may do what by --nats-users (spatialflow nats-config), or give a loopback address, as 127.0.0.1:4222", ErrUsage, u.NATSListen)
	case u.NATSUsers != "" && u.NATSListen == "":
		return cfg, fmt.Errorf("%w: --nats-users without --nats-listen: nobody could come", ErrUsage)
	case u.Run != "" && u.DataDir == "":
		return cfg, fmt.Errorf("%w: --run needs --data-dir: a temporary folder has nothing to go on from", ErrUsage)
	case u.Duration < 0:
		return cfg, fmt.Errorf("%w: --duration %v is in the past", ErrUsage, u.Duration)
	case len(u.Sources) == 0 && u.SourceFile == "" && u.ExitWhenDone:
		return cfg, fmt.Errorf("%w: no --source, so --exit-when-done would end at once: give a video file, a folder of pictures, a picture, or street: (make demo SOURCE=…)", ErrUsage)
	}
	if cfg.Groups, cfg.Workers, err = u.Models.groups(); err != nil {
		return cfg, err
	}
	for i, given := range u.Group {
		name, need, _ := strings.Cut(given, "=")
		group := flow.Group{Name: name, Slot: len(cfg.Groups) + 1, Need: flow.NeedOptional}
		if need != "" {
			group.Need = flow.Need(need)
		}
		switch {
		case slices.ContainsFunc(cfg.Groups, func(g flow.Group) bool { return g.Name == name }):
			return cfg, fmt.Errorf("%w: --group %s: there is a group of this name", ErrUsage, u.Group[i])
		case u.NATSListen == "":
			return cfg, fmt.Errorf("%w: --group %s needs --nats-listen: its workers are programs of their own", ErrUsage, given)
		}
		cfg.Groups = append(cfg.Groups, group)
	}
	if err := cfg.Groups.Validate(); err != nil {
		return cfg, fmt.Errorf("%w: --group: %w", ErrUsage, err)
	}
	if err := cfg.Producer.Validate(); err != nil {
		return cfg, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	if err := cfg.Gateway.Validate(); err != nil {
		return cfg, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	if live := cfg.Producer.LiveSources(); len(live) > 0 && u.Scenes != "" {
		return cfg, fmt.Errorf("%w: --scenes writes every scene of lossless sources, and %s is live: give it #mode=lossless, or --mode lossless", ErrUsage, live[0])
	}
	return cfg, nil
}

// RunPipeline runs what the flags ask for, see [pipeline.Config.Run].
func (u *Up) RunPipeline(ctx context.Context, out, progress io.Writer, log *slog.Logger) error {
	cfg, err := u.pipeline()
	if err != nil {
		return err
	}
	return cfg.Run(ctx, out, progress, log)
}
