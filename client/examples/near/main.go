// Near prints the nearest thing in each scene of a source: near SOURCE. The gateway is $SPATIALFLOW_GATEWAY, or
// http://127.0.0.1:8000; the token that it wants is in the file $SPATIALFLOW_TOKEN_FILE.
package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"

	"github.com/spatial-flow/spatial-flow/client"
	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/client/label"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("near SOURCE")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := near(ctx, cmp.Or(os.Getenv("SPATIALFLOW_GATEWAY"), "http://127.0.0.1:8000"), os.Args[1], os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func near(ctx context.Context, address, source string, out io.Writer) error {
	options := client.Options{}
	if file := os.Getenv("SPATIALFLOW_TOKEN_FILE"); file != "" {
		options.Token = client.TokenFile(file)
	}
	gateway, err := client.Dial(ctx, address, options)
	if err != nil {
		return err
	}
	for scene, err := range gateway.Scenes(ctx, source) {
		if err != nil {
			return err
		}
		var nearest *api.Detection
		for _, d := range scene.Detections {
			if d.Depth != nil && (nearest == nil || d.Depth.Nearness > nearest.Depth.Nearness) {
				nearest = &d
			}
		}
		if nearest != nil {
			if _, err := fmt.Fprintln(out, scene.Frame.Seq, label.Texts(*nearest)[0]); err != nil {
				return err
			}
		}
	}
	return nil
}
