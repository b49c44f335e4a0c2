package standalone

import (
	"log/slog"
	"os"

	"github.com/spatial-flow/spatial-flow/flow/provision"
	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/flow/telemetry"
	"github.com/spatial-flow/spatial-flow/standalone/probe"
	"github.com/spatial-flow/spatial-flow/standalone/runs"
)

// Main is the program spatialflow: it runs the command that the arguments name, and exits with 1 when that fails.
func Main(arguments []string) {
	var commands struct {
		service.Versioned
		Up        Up                `cmd:"" help:"Run every stage in this process, over an embedded NATS server."`
		Eval      Eval              `cmd:"" help:"Run generated streets through the pipeline and compare its scenes with the truth."`
		Watch     Watch             `cmd:"" help:"The viewer as a program: print or draw the scenes of a gateway, or of a file that is run here."`
		Probe     probe.Command     `cmd:"" help:"What a camera, film, folder or picture is, and what would be done with it."`
		Predict   Predict           `cmd:"" help:"What is in pictures, and how near: as a table, as JSON, or drawn."`
		Provision provision.Command `cmd:"" help:"Make the streams, consumers and entries that separate services need, on a NATS server."`
		Runs      runs.Command      `cmd:"" help:"How far the sources of a deployment have come, and how to forget that."`
		Street    Street            `cmd:"" help:"The generated street with known truth."`
		Healthy   service.Healthy   `cmd:"" help:"Exit with 0 when a program that runs is ready, else with 1."`
		Drain     service.Drain     `cmd:"" help:"Stop a program that runs, as SIGTERM does, once what it has in hand is finished."`
	}
	parser, err := service.Parser("spatialflow", "What is where, and how near: video frames to fused scenes.", &commands)
	if err != nil {
		panic(err) // a mistake in the flags' declarations
	}
	chosen, err := parser.Parse(arguments)
	parser.FatalIfErrorf(err)
	ctx, stop := service.SignalContext()
	defer stop()
	switch chosen.Command() {
	case "eval":
		log := telemetry.NewLogger(os.Stderr, "text", slog.LevelWarn)
		parser.FatalIfErrorf(commands.Eval.Evaluate(ctx, os.Stdout, os.Stderr, log))
	case "watch", "watch <file>":
		parser.FatalIfErrorf(commands.Watch.RunWatch(ctx, os.Stdout, os.Stderr, telemetry.NewLogger(os.Stderr, "text", slog.LevelWarn)))
	case "predict <picture>":
		parser.FatalIfErrorf(commands.Predict.RunPredict(ctx, os.Stdout, telemetry.NewLogger(os.Stderr, "text", slog.LevelWarn)))
	case "probe <source>":
		parser.FatalIfErrorf(commands.Probe.Print(ctx, os.Stdout))
	case "provision":
		parser.FatalIfErrorf(commands.Provision.Run(ctx, os.Stdout, os.Stderr))
	case "runs list", "runs list <source>":
		parser.FatalIfErrorf(commands.Runs.List.Print(ctx, os.Stdout))
	case "runs forget <source>", "runs forget <source> <run>":
		parser.FatalIfErrorf(commands.Runs.Forget.Do(ctx, os.Stdout))
	case "street export":
		parser.FatalIfErrorf(commands.Street.Export.RunExport(ctx, os.Stderr))
	case "healthy", "healthy <url>":
		parser.FatalIfErrorf(commands.Healthy.Ask(ctx))
	case "drain", "drain <url>":
		parser.FatalIfErrorf(commands.Drain.Stop(ctx))
	default:
		up := &commands.Up
		log := telemetry.NewLogger(os.Stderr, up.LogFormat, up.LogLevel)
		parser.FatalIfErrorf(up.RunPipeline(ctx, os.Stdout, os.Stderr, log))
	}
}
