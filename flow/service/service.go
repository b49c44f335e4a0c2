// Package service runs a stage as a program: flags, environment and help from its Config, then its Run.
package service

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"reflect"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/address"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/telemetry"
)

// Env is what a service is given.
type Env struct {
	Bus     *bus.Bus
	Log     *slog.Logger
	Metrics prometheus.Registerer
	Health  *telemetry.Health
}

// Run is a service: it blocks, owns every goroutine that it starts, and returns nil after a clean stop.
type Run[C any] func(ctx context.Context, cfg C, env Env) error

// Parser is the command line of a program: flags, SPATIALFLOW_… environment and complete help.
func Parser(name, description string, cli any) (Commands, error) {
	parser, err := kong.New(cli, kong.Name(name), kong.Description(description), kong.DefaultEnvars("SPATIALFLOW"),
		kong.KindMapper(reflect.String, kong.MapperFunc(takeString)),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.ShortUsageOnError(), kong.Vars{"version": name + " " + Version + " (" + revision() + ")"})
	return Commands{parser}, err
}

// takeString takes what was typed byte for byte: kong's own way is by JSON, which has no file names but those in UTF-8.
func takeString(ctx *kong.DecodeContext, target reflect.Value) error {
	token, err := ctx.Scan.PopValue("string")
	if err != nil {
		return err
	}
	target.SetString(fmt.Sprint(token.Value))
	return nil
}

// Commands are what a program can be told on its command line.
type Commands struct{ *kong.Kong }

// FatalIfErrorf ends the program with an error, if there is one: with where its flags are listed when it is about them. What was typed is
// quoted without the passwords in it.
func (c Commands) FatalIfErrorf(err error) {
	if err != nil {
		c.Kong.FatalIfErrorf(redacted{err})
	}
}

// redacted is an error that shows no password of a URL.
type redacted struct{ error }

func (r redacted) Error() string { return address.RedactText(r.error.Error()) }
func (r redacted) Unwrap() error { return r.error }

// Defaults sets cfg to the defaults of its kong tags. Its Validate is not asked: what has no default is still missing.
func Defaults(cfg any) error {
	parser, err := kong.New(cfg)
	if err != nil {
		return fmt.Errorf("read defaults of %T: %w", cfg, err)
	}
	ctx, err := kong.Trace(parser, nil)
	if err != nil {
		return fmt.Errorf("read defaults of %T: %w", cfg, err)
	}
	if err := ctx.Reset(); err != nil {
		return fmt.Errorf("read defaults of %T: %w", cfg, err)
	}
	return nil
}

// SignalContext ends at the first SIGINT, SIGTERM, or SIGHUP (a closed terminal, unless under nohup); a second one kills
// the process.
func SignalContext() (context.Context, context.CancelFunc) {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

const aliveEvery = time.Second

// Alive publishes, once a second until ctx ends, what status answers; host is filled in, and instance unless it is given.
func Alive(ctx context.Context, env Env, status func() flow.Alive) error {
	instance := ulid.Make().String()
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	ticker := time.NewTicker(aliveEvery)
	defer ticker.Stop()
	for {
		alive := status()
		alive.Instance, alive.Host, alive.Wire = cmp.Or(alive.Instance, instance), host, flow.Wire
		if err := env.Bus.PublishAlive(alive); err != nil {
			env.Log.Debug("alive not sent", "error", err) // the connection is away: the next second tells
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
