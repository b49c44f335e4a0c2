package client_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/spatial-flow/spatial-flow/client"
	"github.com/spatial-flow/spatial-flow/client/depthmap"
	"github.com/spatial-flow/spatial-flow/client/label"
)

func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	gateway, err := client.Dial(ctx, exampleGateway(), client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	var unpacker depthmap.Unpacker
	for scene, err := range gateway.Scenes(ctx, "cam1") {
		if err != nil {
			log.Fatal(err)
		}
		for _, d := range scene.Detections {
			fmt.Println(scene.Frame, label.Texts(d)[0])
		}
		if scene.Depth != nil {
			samples, err := unpacker.Unpack(&scene.Depth.Map)
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println("a depth map of", len(samples), "samples, the first of which is", scene.Depth.Value(samples[0]))
		}
		break
	}
	// Output:
	// cam1/s/1 person 90% 2.5 m
	// a depth map of 4 samples, the first of which is 1.5
}
