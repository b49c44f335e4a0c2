package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/telemetry"
)

// Connection is how a program reaches NATS.
type Connection struct {
	NATS      string `name:"nats" default:"nats://127.0.0.1:4222" help:"NATS servers, separated by commas; user and password may stand in the URL."`
	NATSCreds string `name:"nats-creds" placeholder:"FILE" help:"NATS credentials file."`
}

// Logging is what a program logs, on standard error.
type Logging struct {
	LogLevel  slog.Level `default:"info" help:"Least level that is logged: debug, info, warn or error."`
	LogFormat string     `enum:"text,json" default:"text" help:"Format of the log, on standard error: text or json."`
}

// Logger writes to w.
func (l Logging) Logger(w io.Writer) *slog.Logger {
	return telemetry.NewLogger(w, l.LogFormat, l.LogLevel)
}

// Main is a service as a program: the flags are those of C and what every service has. It ends at SIGINT or SIGTERM,
// once what is in hand is finished; a failure exits with 1.
func Main[C any](name, description string, run Run[C]) {
	var cli struct {
		Connection
		Logging
		Admin  string `default:"127.0.0.1:8001" help:"Address of /metrics, /healthz, /readyz and /debug/pprof; empty: none."`
		Config C      `embed:""`
	}
	parser, err := Parser(name, description, &cli)
	if err != nil {
		panic(err) // a mistake in the flags' declarations
	}
	_, err = parser.Parse(os.Args[1:])
	parser.FatalIfErrorf(err)
	ctx, stop := SignalContext()
	defer stop()
	log := cli.Logger(os.Stderr).With("service", name)
	parser.FatalIfErrorf(runProgram(ctx, name, cli.Connection, cli.Admin, log, func(ctx context.Context, env Env) error {
		return run(ctx, cli.Config, env)
	}))
}

// runProgram connects, serves the admin address, and runs a service until ctx ends.
func runProgram(ctx context.Context, role string, c Connection, admin string, log *slog.Logger, run func(context.Context, Env) error) error {
	registry, health := prometheus.NewRegistry(), new(telemetry.Health)
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	tasks, alive := errgroup.WithContext(context.WithoutCancel(ctx))
	alive, stopAdmin := context.WithCancel(alive)
	if admin != "" { // also while NATS is away: not ready, and it says so
		tasks.Go(func() error {
			if err := telemetry.ServeAdmin(alive, admin, registry, health.Ready); err != nil {
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
				return nil // asked to stop while NATS was away
			}
			return err
		}
		defer b.Close()
		return run(running, Env{Bus: b, Log: log, Metrics: registry, Health: health})
	})
	return tasks.Wait()
}

const (
	connectWait    = 100 * time.Millisecond
	connectWaitMax = 2 * time.Second
)

// Connect opens a connection; while no server answers it says so once and tries again until ctx ends. What can't get
// better, as a bad password, is returned at once.
func (c Connection) Connect(ctx context.Context, role string, log *slog.Logger) (*bus.Bus, error) {
	for wait := connectWait; ; wait = min(2*wait, connectWaitMax) {
		b, err := bus.Connect(bus.Options{URL: c.NATS, Credentials: c.NATSCreds, Role: role, Log: log})
		if err == nil || errors.Is(err, bus.ErrRefused) {
			return b, err
		}
		if wait == connectWait {
			log.Warn("waiting for nats", "error", err)
		}
		if !bus.Sleep(ctx, wait) {
			return nil, fmt.Errorf("wait for nats: %w", context.Cause(ctx))
		}
	}
}
