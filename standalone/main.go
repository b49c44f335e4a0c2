package standalone

import (
	"context"
	"io"
	"log/slog"
	"os"

	"github.com/spatial-flow/spatial-flow/flow/natsconfig"
	"github.com/spatial-flow/spatial-flow/flow/provision"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/flow/telemetry"
	"github.com/spatial-flow/spatial-flow/standalone/probe"
	"github.com/spatial-flow/spatial-flow/standalone/runs"
	"github.com/spatial-flow/spatial-flow/standalone/stdio"
	"github.com/spatial-flow/spatial-flow/standalone/token"
)

// commands are those of the program.
type commands struct {
	service.Versioned
	Up         Up                 `cmd:"" help:"Run every stage in this process, over an embedded NATS server."`
	Eval       Eval               `cmd:"" help:"Run generated streets through the pipeline and compare its scenes with the truth."`
	Watch      Watch              `cmd:"" help:"The viewer as a program: print or draw the scenes of a gateway, or of a file that is run here."`
	Probe      probe.Command      `cmd:"" help:"What a camera, film, folder or picture is, and what would be done with it."`
	Predict    Predict            `cmd:"" help:"What is in pictures, and how near: as a table, as JSON, or drawn."`
	Provision  provision.Command  `cmd:"" help:"Make the streams, consumers and entries that separate services need, on a NATS server."`
	NATSConfig natsconfig.Command `cmd:"" name:"nats-config" help:"Print the configuration of a nats-server on which every service may do what it needs and nothing else, and make the users' passwords."`
	Token      token.Command      `cmd:"" help:"Tokens for those who ask the gateway."`
	Runs       runs.Command       `cmd:"" help:"How far the sources of a deployment have come, and how to forget that."`
	Street     Street             `cmd:"" help:"The generated street with known truth."`
	Healthy    service.Healthy    `cmd:"" help:"Exit with 0 when a program that runs is ready, else with 1."`
	Drain      service.Drain      `cmd:"" help:"Stop a program that runs, as SIGTERM does, once what it has in hand is finished."`
}

// Main is the program spatialflow: it runs the command that the arguments name, and exits with 1 when that fails.
func Main(arguments []string) {
	var commands commands
	parser, err := service.Parser("spatialflow", "What is where, and how near: video frames to fused scenes.", &commands)
	if err != nil {
		panic(err) // a mistake in the flags' declarations
	}
	chosen, err := parser.Parse(arguments)
	parser.FatalIfErrorf(err)
	ctx, stop := service.SignalContext()
	defer stop()
	stdio.CatchPipe()
	out, progress := stdio.New(os.Stdout, stop), stdio.New(os.Stderr, stop)
	err = commands.run(ctx, chosen.Command(), out, progress)
	if !out.Gone() { // else whoever wanted the output has had enough of it
		parser.FatalIfErrorf(err)
	}
}

// run runs a command: out gets its data, progress what a person wants to know besides.
func (c *commands) run(ctx context.Context, command string, out, progress io.Writer) error {
	warnings := telemetry.NewLogger(progress, "text", slog.LevelWarn)
	switch command {
	case "eval":
		return c.Eval.Evaluate(ctx, out, progress, warnings)
	case "watch", "watch <file>":
		return c.Watch.RunWatch(ctx, out, progress, warnings)
	case "predict <picture>":
		return c.Predict.RunPredict(ctx, out, warnings)
	case "probe <source>":
		return c.Probe.Print(ctx, out)
	case "provision":
		return c.Provision.Run(ctx, out, progress)
	case "nats-config":
		return c.NATSConfig.Run(out, progress)
	case "token new":
		return c.Token.New.Run(out, progress)
	case "runs list", "runs list <source>":
		return c.Runs.List.Print(ctx, out)
	case "runs forget <source>", "runs forget <source> <run>":
		return c.Runs.Forget.Do(ctx, out)
	case "street export":
		return c.Street.Export.RunExport(ctx, progress)
	case "healthy", "healthy <url>":
		return c.Healthy.Ask(ctx)
	case "drain", "drain <url>":
		return c.Drain.Stop(ctx)
	}
	return c.Up.RunPipeline(ctx, out, progress, telemetry.NewLogger(progress, c.Up.LogFormat, c.Up.LogLevel))
}
