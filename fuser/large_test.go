package fuser_test

import (
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/flow/natsserver/natstest"
)

// On a server that takes smaller messages than ours, results that fit make a scene that does not: it loses its map, and other
// sources do not notice.
func TestSceneLargerThanTheServerTakes(t *testing.T) {
	t.Parallel()
	cluster := natstest.Start(t, natstest.Options{Servers: 1, MaxPayload: 1 << 20})
	b := bench{bus: cluster.Connect(t, "test")}
	b.provision(t, flow.DefaultDeployment())
	defer runFuser(t, cluster.Connect(t, "fuser"), slog.New(slog.DiscardHandler)).stop()
	values := make([]float32, 600*600)
	for i := range values {
		values[i] = rand.Float32()
	}
	var packer depthmap.Packer
	noise, err := packer.Pack(values, 600, 600, depthmap.InverseRelative, 16)
	if err != nil {
		t.Fatal(err)
	}
	detect, depth := result(flow.GroupDetect, "cam1", 1), result(flow.GroupDepth, "cam1", 1)
	depth.Depth = noise
	for range 3000 {
		detect.Detections = append(detect.Detections, flow.Detection{Label: strings.Repeat("x", 100), Score: 0.5, Box: [4]float32{1, 2, 3, 4}})
	}
	b.publish(t, detect)
	b.publish(t, depth)
	for _, group := range plan {
		b.publish(t, result(group, neighbours(1)[0], 1))
	}
	for _, scene := range b.scenes(t, 2) {
		if scene.Source != "cam1" {
			continue
		}
		if scene.Outcome != flow.OutcomeError || scene.Depth != nil || len(scene.Detections) != 3000 || scene.Errors["fuser"] == "" {
			t.Errorf("%s, %d detections, errors %v, map %v; want an error that keeps the detections", scene.Outcome, len(scene.Detections), scene.Errors, scene.Depth != nil)
		}
	}
	b.drained(t)
}

// Results of many elements, which just fit, make a scene of too many: it says so, and has its place.
func TestSceneOfTooManyElements(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	defer b.startFuser(t).stop()
	for seq := uint64(1); seq <= 2; seq++ {
		for _, group := range plan {
			r := result(group, "cam1", seq)
			for range 4000 * (2 - seq) {
				r.Detections = append(r.Detections, flow.Detection{Score: 0.5})
			}
			b.publish(t, r)
		}
	}
	scenes := b.scenes(t, 2)
	if scenes[0].Outcome != flow.OutcomeError || len(scenes[0].Detections) != 0 || scenes[1].Outcome != flow.OutcomeComplete {
		t.Errorf("scenes: %s with %d detections, %s", scenes[0].Outcome, len(scenes[0].Detections), scenes[1].Outcome)
	}
	b.drained(t)
}
