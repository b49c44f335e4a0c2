package standalone

import (
	"os"

	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/flow/telemetry"
)

// Main is the program spatialflow: it runs the command that the arguments name, and exits with 1 when that fails.
func Main(arguments []string) {
	var commands struct {
		Up     Up     `cmd:"" help:"Run every stage in this process, over an embedded NATS server."`
		Street Street `cmd:"" help:"The generated street with known truth."`
	}
	parser, err := service.Parser("spatialflow", "What is where, and how near: video frames to fused scenes.", &commands)
	if err != nil {
		panic(err) // a mistake in the flags' declarations
	}
	chosen, err := parser.Parse(arguments)
	parser.FatalIfErrorf(err)
	ctx, stop := service.SignalContext()
	defer stop()
	if chosen.Command() == "street export" {
		parser.FatalIfErrorf(commands.Street.Export.RunExport(ctx, os.Stderr))
		return
	}
	up := &commands.Up
	log := telemetry.NewLogger(os.Stderr, up.LogFormat, up.LogLevel)
	parser.FatalIfErrorf(up.RunPipeline(ctx, os.Stdout, os.Stderr, log))
}
