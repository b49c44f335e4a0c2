package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/telemetry"
)

// Logging is what a program logs, on standard error.
type Logging struct {
	LogLevel  slog.Level `default:"info" help:"Least level that is logged: debug, info, warn or error."`
	LogFormat string     `enum:"text,json" default:"text" help:"Format of the log, on standard error: text or json."`
}

// Logger writes to w.
func (l Logging) Logger(w io.Writer) *slog.Logger {
	return telemetry.NewLogger(w, l.LogFormat, l.LogLevel)
}

// Main is a service as a program: the flags are those of C and what every service has. It ends at SIGINT, SIGTERM or
// POST /drain, once what is in hand is finished; a failure exits with 1. `healthy` and `drain` as the first argument
// ask or stop a program that runs.
func Main[C any](name, description string, run Run[C]) {
	if Controlled(name) {
		return
	}
	var cli struct {
		Versioned
		Connection
		Logging
		AdminAddress
		Config C `embed:""`
	}
	parser, err := Parser(name, fmt.Sprintf("%s\n\n%s healthy [URL] and %s drain [URL] ask and stop one that runs.", description, name, name), &cli)
	if err != nil {
		panic(err) // a mistake in the flags' declarations
	}
	_, err = parser.Parse(os.Args[1:])
	parser.FatalIfErrorf(err)
	ctx, stop := SignalContext()
	defer stop()
	log := cli.Logger(os.Stderr).With("service", name)
	role := name
	if r, ok := any(cli.Config).(roled); ok {
		role = r.Role()
	}
	err = runProgram(ctx, role, cli.Connection, cli.AdminAddress, log, func(ctx context.Context, env Env) error {
		return run(ctx, cli.Config, env)
	})
	if task, ok := any(cli.Config).(stopper); ok && errors.Is(err, errNotBegun) {
		err = task.Stopped()
	}
	if !errors.Is(err, errNotBegun) {
		parser.FatalIfErrorf(err)
	}
}

// Once is a command as a program of its own: the flags are those of C, and it ends when run does; a failure exits with 1.
func Once[C any](name, description string, run func(context.Context, *C) error) {
	var cli struct {
		Versioned
		Command C `embed:""`
	}
	parser, err := Parser(name, description, &cli)
	if err != nil {
		panic(err) // a mistake in the flags' declarations
	}
	_, err = parser.Parse(os.Args[1:])
	parser.FatalIfErrorf(err)
	ctx, stop := SignalContext()
	defer stop()
	if err := run(ctx, &cli.Command); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// Controlled runs `healthy` or `drain` when that is the program's first argument, and says so.
func Controlled(name string) bool {
	if len(os.Args) < 2 || !isControl(os.Args[1]) {
		return false
	}
	control(name, os.Args[1:])
	return true
}

// stopper is a Config that knows an end of its own: what is returned when a stop comes before that.
type stopper interface{ Stopped() error }

// roled is a Config that says what role the program has at NATS, where that is not its name.
type roled interface{ Role() string }

// errNotBegun says that the stop came while NATS was away.
var errNotBegun = errors.New("stopped before it began")

// Serve runs what Main runs, for a command that has its flags parsed already; role names its connection. A stop while NATS is away
// is no error.
func Serve(ctx context.Context, role string, c Connection, admin AdminAddress, log *slog.Logger, run func(context.Context, Env) error) error {
	if err := runProgram(ctx, role, c, admin, log, run); !errors.Is(err, errNotBegun) {
		return err
	}
	return nil
}

// runProgram connects, serves the admin address, and runs a service until ctx ends or it is drained.
func runProgram(ctx context.Context, role string, c Connection, admin AdminAddress, log *slog.Logger, run func(context.Context, Env) error) error {
	registry, health := prometheus.NewRegistry(), new(telemetry.Health)
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	ShowBuild(registry)
	var connected atomic.Pointer[bus.Bus]
	telemetry.NewNATSConnected(registry, func() bool { b := connected.Load(); return b != nil && b.Conn().IsConnected() })
	ctx, drain := context.WithCancel(ctx)
	defer drain()
	defer context.AfterFunc(ctx, health.Drain)() // seen at once, while what is in hand is finished
	tasks, alive := errgroup.WithContext(context.WithoutCancel(ctx))
	alive, stopAdmin := context.WithCancel(alive)
	if admin.Admin != "" { // also while NATS is away: not ready, and it says so
		tasks.Go(func() error {
			answers := telemetry.Admin{
				Address: admin.Admin, TLS: admin.TLS(), Gatherer: registry, Log: log, Ready: health.Ready, Drain: drain, Metrics: registry,
			}
			if err := answers.Serve(alive); err != nil {
				return fmt.Errorf("--admin: %w", err)
			}
			return nil
		})
	}
	tasks.Go(func() error {
		defer stopAdmin()
		running, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(alive, cancel)() // the admin address failed
		b, err := c.Connect(running, role, log)
		if err != nil {
			if ctx.Err() != nil {
				return errNotBegun
			}
			return err
		}
		defer b.Close()
		connected.Store(b)
		health.Needs(b.Away)
		if err := b.CheckServer(running); err != nil {
			return err
		}
		return run(running, Env{Bus: b, Log: log, Metrics: registry, Health: health})
	})
	return tasks.Wait()
}
