package fuser_test

import (
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
)

var plan = []string{flow.GroupDetect, flow.GroupDepth}

func result(group, source string, seq uint64) *flow.Result {
	return &flow.Result{
		Version: flow.Wire, Group: group, Source: source, Session: "s", Seq: seq,
		Mode: flow.ModeLossless, Width: 64, Height: 48, Plan: plan, Partition: flow.Partition(source, flow.DefaultPartitions),
	}
}

// live is a live result whose group waited and worked for so long.
func live(group, source string, seq uint64, took time.Duration) *flow.Result {
	r := result(group, source, seq)
	r.Mode, r.Budget = flow.ModeLive, time.Hour
	r.Ledger = []flow.Hop{{Stage: group, Wait: took / 4, Work: took - took/4}}
	return r
}

// ramp is a map whose value is its column; spot sets a rectangle in samples to a value.
func ramp(t *testing.T, width, height int, kind depthmap.Kind, spot [4]int, value float32) *depthmap.Map {
	t.Helper()
	values := make([]float32, width*height)
	for i := range values {
		values[i] = float32(i % width)
	}
	for y := spot[1]; y < spot[3]; y++ {
		for x := spot[0]; x < spot[2]; x++ {
			values[y*width+x] = value
		}
	}
	var packer depthmap.Packer
	d, err := packer.Pack(values, width, height, kind, depthmap.DefaultBits)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
