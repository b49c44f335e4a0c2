package service_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/natsserver"
	"github.com/spatial-flow/spatial-flow/flow/service"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 3 * time.Minute // for what happens at once

type config struct {
	Window  int           `help:"Frames in hand." default:"32"`
	Wait    time.Duration `help:"How long." default:"2s"`
	Source  []string      `help:"Where from."`
	Verbose bool          `help:"Say more."`
	Deep    struct {
		MaxRate float64 `help:"Cap." default:"12.5"`
	} `embed:"" prefix:"deep-"`
}

func TestDefaults(t *testing.T) {
	t.Setenv("SPATIALFLOW_WINDOW", "7") // defaults are those of the tags, wherever the program runs
	cfg := config{Window: 99, Verbose: true}
	if err := service.Defaults(&cfg); err != nil {
		t.Fatal(err)
	}
	if cfg.Window != 32 || cfg.Wait != 2*time.Second || cfg.Deep.MaxRate != 12.5 || cfg.Source != nil || cfg.Verbose {
		t.Errorf("defaults are %+v", cfg)
	}
}

func TestDefaultsRefuse(t *testing.T) {
	for name, cfg := range map[string]any{
		"no struct": new(int),
		"a default that is none": &struct {
			Window int `default:"many"`
		}{},
	} {
		if err := service.Defaults(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// run parses arguments and returns what was printed and the exit code, -1 when the program goes on.
func run(t *testing.T, cli any, arguments ...string) (printed string, code int, err error) {
	t.Helper()
	parser, err := service.Parser("worker", "Answers frames.", cli)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	code = -1
	parser.Stdout, parser.Stderr, parser.Exit = &out, &out, func(c int) {
		if code == -1 {
			code = c
		}
	}
	_, err = parser.Parse(arguments)
	return out.String(), code, err
}

func TestHelpShowsEveryFlagWithItsVariable(t *testing.T) {
	printed, code, _ := run(t, new(config), "--help")
	if code != 0 {
		t.Errorf("--help exits with %d, want 0", code)
	}
	for _, want := range []string{
		"worker", "Answers frames.",
		"--window=32", "$SPATIALFLOW_WINDOW", "Frames in hand",
		"--wait=2s", "$SPATIALFLOW_WAIT",
		"--source", "$SPATIALFLOW_SOURCE",
		"--verbose", "$SPATIALFLOW_VERBOSE",
		"--deep-max-rate=12.5", "$SPATIALFLOW_DEEP_MAX_RATE",
	} {
		if !strings.Contains(printed, want) {
			t.Errorf("help lacks %q:\n%s", want, printed)
		}
	}
}

func TestFlagBeatsVariableBeatsDefault(t *testing.T) {
	t.Setenv("SPATIALFLOW_WINDOW", "7")
	t.Setenv("SPATIALFLOW_DEEP_MAX_RATE", "3")
	t.Setenv("SPATIALFLOW_SOURCE", "a,b")
	var cfg config
	if _, code, err := run(t, &cfg, "--deep-max-rate", "4"); err != nil || code != -1 {
		t.Fatalf("refused: %v (exit %d)", err, code)
	}
	if cfg.Window != 7 || cfg.Deep.MaxRate != 4 || cfg.Wait != 2*time.Second || strings.Join(cfg.Source, "|") != "a|b" {
		t.Errorf("got %+v, want window 7 (variable), max rate 4 (flag), wait 2s (default), sources a and b", cfg)
	}
}

func TestParserRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, arguments := range [][]string{{"--windov", "3"}, {"--window", "three"}, {"three"}} {
		if _, _, err := run(t, new(config), arguments...); err == nil {
			t.Errorf("%q is taken", arguments)
		}
	}
	t.Setenv("SPATIALFLOW_WINDOW", "many")
	if _, _, err := run(t, new(config)); err == nil || !strings.Contains(err.Error(), "many") {
		t.Errorf("SPATIALFLOW_WINDOW=many: %v, want an error that says many", err)
	}
}

func TestAlive(t *testing.T) {
	s, err := natsserver.Start(t.TempDir(), "", "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	b, err := s.Connect("test", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	heard := make(chan *nats.Msg, 8)
	if _, err := b.Conn().ChanSubscribe(flow.AliveSubject("detect", "*"), heard); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	env := service.Env{Bus: b, Log: slog.New(slog.DiscardHandler)}
	if err := service.Alive(ctx, env, func() flow.Alive { return flow.Alive{Stage: "detect", Parallel: 1} }); err != nil {
		t.Errorf("Alive ended with %v, want nil", err)
	}
	select { // nothing was waited for, and yet it was told
	case <-heard:
	case <-time.After(patience):
		t.Fatal("the first message is not sent at once")
	}
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	ended, asked := make(chan error, 1), 0
	began := time.Now()
	go func() {
		ended <- service.Alive(ctx, env, func() flow.Alive {
			asked++
			return flow.Alive{Stage: "detect", Parallel: asked}
		})
	}()
	var instance string
	for n := range 2 {
		select {
		case msg := <-heard:
			alive, err := flow.ParseAlive(msg.Data)
			if err != nil || alive.Parallel != n+1 || alive.Instance == "" || alive.Host == "" || alive.Wire != flow.Wire {
				t.Errorf("message %d is %s, %v", n+1, msg.Data, err)
			}
			if instance == "" {
				instance = alive.Instance
			}
			if alive.Instance != instance || msg.Subject != flow.AliveSubject(alive.Stage, instance) {
				t.Errorf("instance %q on %s, want %q in both", alive.Instance, msg.Subject, instance)
			}
			if took := time.Since(began); n == 1 && took < 900*time.Millisecond {
				t.Errorf("message 2 came after %v, want a second", took)
			}
		case <-time.After(patience):
			t.Fatalf("message %d does not come", n+1)
		}
	}
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("Alive ended with %v, want nil", err)
		}
	case <-time.After(patience):
		t.Fatal("Alive did not end with its context")
	}
}

// While NATS is away a service goes on.
func TestAliveOutlivesTheConnection(t *testing.T) {
	s, err := natsserver.Start(t.TempDir(), "", "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	b, err := s.Connect("test", nil)
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	ctx, cancel := context.WithCancel(t.Context())
	status := func() flow.Alive { cancel(); return flow.Alive{Stage: "detect"} }
	if err := service.Alive(ctx, service.Env{Bus: b, Log: slog.New(slog.DiscardHandler)}, status); err != nil {
		t.Errorf("Alive without a connection: %v, want nil", err)
	}
}

func TestSignalEndsTheContext(t *testing.T) {
	for _, stopping := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		if signal.Ignored(stopping) {
			continue // as under nohup: whoever started this wants it so
		}
		ctx, stop := service.SignalContext()
		if err := syscall.Kill(os.Getpid(), stopping); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(patience):
			t.Errorf("%v does not end the context", stopping)
		}
		stop()
	}
}

// File names are bytes, whatever they mean.
func TestArgumentsKeepEveryByte(t *testing.T) {
	var cli struct {
		Name   string   `name:"name"`
		Source []string `name:"source" sep:"none"`
		File   []string `arg:"" optional:""`
	}
	parser, err := service.Parser("test", "", &cli)
	if err != nil {
		t.Fatal(err)
	}
	const name = "caf\xe9,\n<&>\u2028.mp4"
	if _, err := parser.Parse([]string{"--name", name, "--source=" + name, "--source", "b", name}); err != nil {
		t.Fatal(err)
	}
	if cli.Name != name || len(cli.Source) != 2 || cli.Source[0] != name || len(cli.File) != 1 || cli.File[0] != name {
		t.Errorf("%q", cli)
	}
}
