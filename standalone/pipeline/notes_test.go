package pipeline

import (
	"strings"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
)

// What services can't do, and groups that are required and not there, are told, and not each time.
func TestNotes(t *testing.T) {
	t.Parallel()
	now := time.Now()
	n := newNotes(now)
	groups := append(flow.DefaultGroups(), flow.Group{Name: "pose", Slot: 3}, flow.Group{Name: "face", Slot: 4, Need: flow.NeedOptional})
	const newer = "detect on here: needs a newer worker"
	const missing = "group pose has no worker: films wait for it"
	for i, step := range []struct {
		after time.Duration
		note  string
		pose  bool
		want  string
	}{
		{0, "", false, ""},
		{4 * time.Second, "needs a newer worker", false, newer},
		{2 * time.Second, "needs a newer worker", false, missing},
		{2 * time.Second, "needs a newer worker", false, ""},
		{58 * time.Second, "needs a newer worker", false, newer + "; " + missing},
		{time.Minute, "", true, ""},
		{2 * time.Second, "", false, ""},
		{time.Second, "", false, missing},
	} {
		now = now.Add(step.after)
		n.add(flow.Alive{Stage: "detect", Host: "here", Note: step.note}, now)
		n.add(flow.Alive{Stage: "depth", Host: "here"}, now)
		if step.pose {
			n.add(flow.Alive{Stage: "pose", Host: "there"}, now)
		}
		if got := strings.Join(n.lines(groups, now), "; "); got != step.want {
			t.Errorf("step %d: %q, want %q", i, got, step.want)
		}
	}
}
