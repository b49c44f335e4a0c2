package join

import (
	"slices"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
)

// Stage is the fuser's name in the ledger and in done messages.
const Stage = "fuser"

// Fuse makes the scene of a frame out of the results of its plan, and the source's next stable range out of last,
// its range so far (nil: none yet). A group of the plan without a result is missing and makes it a partial scene; one
// that answered with an error makes it an error scene, which keeps what the other groups found. What a shadow answers, or
// that it does not, changes nothing of that. now is the time of the join. samples are those of the scene's depth map, and the
// unpacker's; nil without a map.
func Fuse(joined Joined, needs Needs, last *depthmap.Range, unpacker *depthmap.Unpacker, now time.Time) (scene *flow.Scene, samples []uint16) {
	results := joined.Results
	first := results[0]
	scene = &flow.Scene{
		Detections: []flow.Detection{}, // not nil: readers iterate over it
		Version:    first.Version, Partition: first.Partition, Source: first.Source, Session: first.Session, Seq: first.Seq,
		Mode: first.Mode, Captured: first.Captured, Fused: clock.Stamp(now), Plan: joined.Plan,
		Outcome: flow.OutcomeComplete, Range: last,
	}
	fail := func(group, reason string, failure flow.Failure) {
		if scene.Errors == nil {
			scene.Errors, scene.Failures = map[string]string{}, map[string]flow.Failure{}
		}
		scene.Errors[group], scene.Outcome = flow.CutText(reason), flow.OutcomeError
		if failure.Class != "" {
			scene.Failures[group] = failure
		}
	}
	for _, r := range results {
		if scene.File == "" { // workers of others may leave it out
			scene.File = r.File
		}
		if needs[r.Group] == Shadow {
			continue
		}
		scene.Width, scene.Height = max(scene.Width, r.Width), max(scene.Height, r.Height)
		if r.Error != "" {
			fail(r.Group, r.Error, r.Failure())
			continue
		}
		if len(r.Answers) > 0 {
			if scene.Answers == nil {
				scene.Answers = map[string]map[string]msgpack.RawMessage{}
			}
			scene.Answers[r.Group] = r.Answers
		}
		scene.Detections = append(scene.Detections, r.Detections...)
		if r.Depth == nil || scene.Depth != nil {
			continue
		}
		unpacked, err := unpacker.Unpack(r.Depth)
		if err != nil {
			fail(r.Group, err.Error(), flow.Failure{Class: flow.ClassLost, Cause: flow.CauseModel})
			continue
		}
		samples, scene.Depth = unpacked, r.Depth
	}
	if scene.Depth != nil {
		scene.Range = MoveRange(last, scene.Depth, samples)
		Measure(scene, scene.Depth, samples)
	}
	for _, group := range scene.Plan {
		if needs[group] != Shadow && !slices.ContainsFunc(results, func(r *flow.Result) bool { return r.Group == group }) {
			scene.Missing = append(scene.Missing, group)
		}
	}
	if len(scene.Missing) > 0 && scene.Outcome == flow.OutcomeComplete {
		scene.Outcome = flow.OutcomePartial
	}
	scene.Ledger = ledger(results, now)
	return scene, samples
}

// Measure gives every box of the scene its depth in a map, by the scene's range.
func Measure(scene *flow.Scene, d *depthmap.Map, samples []uint16) {
	for i := range scene.Detections {
		box := scene.Detections[i].Box
		scene.Detections[i].Depth = boxDepth(d, samples, box, max(scene.Width, 1), max(scene.Height, 1), *scene.Range)
	}
}

// ledger is the frame's hops, then each group's own, then the fuser's: its wait begins when the last result was sent.
func ledger(results []*flow.Result, now time.Time) []flow.Hop {
	var hops []flow.Hop
	var sent int64
	for i, r := range results {
		sent = max(sent, r.Sent)
		if own := len(r.Ledger) - 1; own >= 0 {
			if i == 0 {
				hops = append(hops, r.Ledger[:own]...)
			}
			hops = append(hops, r.Ledger[own])
		}
	}
	return append(hops, flow.Hop{Stage: Stage, Wait: max(0, time.Duration(clock.Stamp(now)-sent))})
}
