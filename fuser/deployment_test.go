package fuser_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/spatial-flow/spatial-flow/flow"
)

func withGroup(d flow.Deployment, group flow.Group) flow.Deployment {
	group.Slot = len(d.Groups) + 1
	return d.With(append(slices.Clone(d.Groups), group))
}

// Partitions grow and a group is added while a fuser runs: it gives nothing up. A live frame that was under way is shown, a
// lossless one that was is stored, in the partition where its session began.
func TestDeploymentGrowsWhileFusing(t *testing.T) {
	t.Parallel()
	small := flow.DefaultDeployment()
	small.Partitions = 4
	b := newBenchWith(t, small)
	defer b.startFuser(t).stop()
	b.wantOwners(t, 1, 4)
	watch := b.watchLive(t)
	in := func(r *flow.Result) *flow.Result { // of a session that began with 4 partitions
		r.Partition = flow.Partition(r.Source, 4)
		return r
	}
	both := []string{flow.GroupDetect, flow.GroupDepth}
	b.publish(t, in(now(t, flow.GroupDepth, 1, flow.GroupDepth))) // teaches nothing: the first deadline is 2 s
	watch.next()
	watch.wantDone(1, flow.OutcomeComplete, "")
	for seq := uint64(2); seq <= 3; seq++ {
		b.publish(t, in(result(flow.GroupDetect, "film", seq-1)))
	}
	b.publish(t, in(now(t, flow.GroupDetect, 2, both...)))
	grown := withGroup(flow.DefaultDeployment(), flow.Group{Name: "pose", Task: flow.TaskOther})
	b.provision(t, grown)
	b.publish(t, in(now(t, flow.GroupDepth, 2, both...)))
	if s := watch.next(); s.Seq != 2 || s.Outcome == flow.OutcomeError {
		t.Errorf("the frame under way: %d, %s", s.Seq, s.Outcome)
	}
	b.wantOwners(t, 1, 16)
	// New sessions are in new partitions, and their frames wait for the new group.
	three := []string{flow.GroupDetect, flow.GroupDepth, "pose"}
	var fresh []string
	for i := 0; len(fresh) < 16; i++ {
		if name := fmt.Sprint("cam", i); flow.Partition(name, 16) == len(fresh) {
			fresh = append(fresh, name)
		}
	}
	for _, source := range fresh {
		for _, group := range three {
			r := result(group, source, 1)
			r.Plan = three
			if group == "pose" {
				r.Answers = map[string]msgpack.RawMessage{"people": {0x03}}
			}
			b.publish(t, r)
		}
	}
	for seq := uint64(1); seq <= 2; seq++ {
		b.publish(t, in(result(flow.GroupDepth, "film", seq)))
	}
	for _, scene := range b.scenes(t, len(fresh)+2) {
		if scene.Outcome != flow.OutcomeComplete || scene.Source != "film" && string(scene.Answers["pose"]["people"]) != "\x03" {
			t.Errorf("scene %s: %s, answers %v", scene.ID(), scene.Outcome, scene.Answers)
		}
	}
	b.drained(t)
}

// Groups that are not required hold nobody up for long, and a shadow is not seen.
func TestGroupsThatAreNotRequired(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	d := withGroup(flow.DefaultDeployment(), flow.Group{Name: "pose", Task: flow.TaskDetect, Need: flow.NeedOptional})
	d = withGroup(d, flow.Group{Name: "next", Task: flow.TaskDetect, Need: flow.NeedShadow})
	b.provision(t, d)
	f := b.startFuser(t)
	defer f.stop()
	all := []string{flow.GroupDetect, flow.GroupDepth, "pose", "next"}
	publish := func(seq uint64, groups ...string) {
		t.Helper()
		for _, group := range groups {
			r := result(group, "cam1", seq)
			r.Plan = all
			if group != flow.GroupDepth {
				r.Detections = []flow.Detection{{Label: group, Score: 0.5}}
			}
			b.publish(t, r)
		}
	}
	publish(1, all...)
	publish(2, flow.GroupDetect, flow.GroupDepth, "pose") // the shadow is silent
	publish(3, flow.GroupDetect, flow.GroupDepth)         // the optional one is, too
	scenes := b.scenes(t, 3)
	for i, want := range []struct {
		outcome flow.Outcome
		missing []string
		labels  int
	}{{flow.OutcomeComplete, nil, 2}, {flow.OutcomeComplete, nil, 2}, {flow.OutcomePartial, []string{"pose"}, 1}} {
		s := scenes[i]
		if s.Outcome != want.outcome || !slices.Equal(s.Missing, want.missing) || len(s.Detections) != want.labels {
			t.Errorf("scene %d: %s, missing %v, %d detections; want %+v", s.Seq, s.Outcome, s.Missing, len(s.Detections), want)
		}
	}
	b.drained(t)
}
