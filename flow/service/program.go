package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/flow/telemetry"
)

// Connection is how a program reaches NATS.
type Connection struct {
	NATS             string `name:"nats" default:"nats://127.0.0.1:4222" help:"NATS servers, separated by commas."`
	NATSUser         string `name:"nats-user" placeholder:"NAME" help:"User at NATS."`
	NATSPassword     string `name:"nats-password" placeholder:"PASSWORD" help:"The user's password; give it by the environment, or by --nats-password-file: everybody on a machine sees its command lines."`
	NATSPasswordFile string `name:"nats-password-file" placeholder:"FILE" help:"File with the user's password, read again for every connection, so that a new password needs no restart."`
	NATSCreds        string `name:"nats-creds" placeholder:"FILE" help:"NATS credentials file."`
	NATSPrefix       string `name:"nats-prefix" placeholder:"NAME" help:"What all names and subjects begin with, for a deployment beside another in one NATS account: 1 to 16 letters, digits, - and _."`
}

// Validate returns [ErrConnection] when the settings say two things.
func (c Connection) Validate() error {
	if err := flow.ValidPrefix(c.NATSPrefix); err != nil {
		return fmt.Errorf("%w: --nats-prefix: %w", ErrConnection, err)
	}
	switch {
	case c.NATSPassword != "" && c.NATSPasswordFile != "":
		return fmt.Errorf("%w: give --nats-password or --nats-password-file, not both", ErrConnection)
	case (c.NATSPassword != "" || c.NATSPasswordFile != "") && c.NATSUser == "":
		return fmt.Errorf("%w: a password without --nats-user", ErrConnection)
	case c.NATSUser != "" && c.NATSCreds != "":
		return fmt.Errorf("%w: give --nats-user or --nats-creds, not both", ErrConnection)
	}
	return nil
}

// password reads the password as it is now; nil when no user is given.
func (c Connection) password() func() (string, error) {
	switch {
	case c.NATSUser == "":
		return nil
	case c.NATSPasswordFile == "":
		return func() (string, error) { return c.NATSPassword, nil }
	}
	return func() (string, error) {
		data, err := os.ReadFile(c.NATSPasswordFile)
		if err != nil {
			return "", fmt.Errorf("--nats-password-file: %w", err)
		}
		return strings.TrimRight(string(data), "\r\n"), nil
	}
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
		Admin  string `default:"127.0.0.1:8001" help:"Address of /metrics, /healthz, /readyz and, over the loopback address alone, /drain and /debug/pprof; empty: none."`
		Config C      `embed:""`
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
	err = runProgram(ctx, name, cli.Connection, cli.Admin, log, func(ctx context.Context, env Env) error {
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

// errNotBegun says that the stop came while NATS was away.
var errNotBegun = errors.New("stopped before it began")

// Serve runs what Main runs, for a command that has its flags parsed already; role names its connection. A stop while NATS is away
// is no error.
func Serve(ctx context.Context, role string, c Connection, admin string, log *slog.Logger, run func(context.Context, Env) error) error {
	if err := runProgram(ctx, role, c, admin, log, run); !errors.Is(err, errNotBegun) {
		return err
	}
	return nil
}

// runProgram connects, serves the admin address, and runs a service until ctx ends or it is drained.
func runProgram(ctx context.Context, role string, c Connection, admin string, log *slog.Logger, run func(context.Context, Env) error) error {
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
	if admin != "" { // also while NATS is away: not ready, and it says so
		tasks.Go(func() error {
			if err := (telemetry.Admin{Address: admin, Gatherer: registry, Log: log, Ready: health.Ready, Drain: drain}).Serve(alive); err != nil {
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

const (
	connectWait    = 100 * time.Millisecond
	connectWaitMax = 2 * time.Second
)

// Connect opens a connection; while no server answers it says so once and tries again until ctx ends. What can't get
// better, as a bad password, is returned at once.
func (c Connection) Connect(ctx context.Context, role string, log *slog.Logger) (*bus.Bus, error) {
	for wait := connectWait; ; wait = min(2*wait, connectWaitMax) {
		b, err := bus.Connect(bus.Options{URL: c.NATS, User: c.NATSUser, Password: c.password(), Credentials: c.NATSCreds, Prefix: c.NATSPrefix, Role: role, Log: log})
		if err == nil || errors.Is(err, bus.ErrRefused) {
			return b, err
		}
		if wait == connectWait {
			log.Warn("waiting for nats", "error", err)
		}
		if !clock.Sleep(ctx, clock.Jitter(wait)) {
			return nil, fmt.Errorf("wait for nats: %w", context.Cause(ctx))
		}
	}
}
