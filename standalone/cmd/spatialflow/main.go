// Command spatialflow runs the whole pipeline in one process.
package main

import (
	"os"

	"github.com/spatial-flow/spatial-flow/flow/service"
	"github.com/spatial-flow/spatial-flow/flow/telemetry"
	"github.com/spatial-flow/spatial-flow/standalone"
)

// cli is the command line.
type cli struct {
	Up standalone.Up `cmd:"" help:"Run every stage in this process, over an embedded NATS server."`
}

func main() {
	var c cli
	parser, err := service.Parser("spatialflow", "What is where, and how near: video frames to fused scenes.", &c)
	if err != nil {
		panic(err) // a mistake in the flags' declarations
	}
	_, err = parser.Parse(os.Args[1:])
	parser.FatalIfErrorf(err)
	ctx, stop := service.SignalContext()
	defer stop()
	log := telemetry.NewLogger(os.Stderr, c.Up.LogFormat, c.Up.LogLevel)
	parser.FatalIfErrorf(c.Up.RunPipeline(ctx, os.Stdout, os.Stderr, log))
}
