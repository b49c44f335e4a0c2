package flow_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
)

func TestMerge(t *testing.T) {
	t.Parallel()
	from := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	detect, depth := flow.DefaultGroups()[0], flow.DefaultGroups()[1]
	pose := flow.Group{Name: "pose", Slot: 3, Task: flow.TaskOther, Need: flow.NeedShadow}
	off := func(g flow.Group) flow.Group { g.Off = true; return g }
	retired := func(g flow.Group) flow.Group { g.Off, g.Retired = true, true; return g }
	with := func(change func(*flow.Deployment), groups ...flow.Group) flow.Deployment {
		d := flow.DefaultDeployment().With(groups)
		if change != nil {
			change(&d)
		}
		return d
	}
	for name, test := range map[string]struct {
		old, asked, want flow.Deployment
		changes          []string
		refused          []string
	}{
		"none before": {
			asked: with(nil, detect, depth), want: with(nil, detect, depth), changes: []string{"deployment: new"},
		},
		"the same": {
			old: with(nil, detect, depth), asked: with(nil, detect, depth), want: with(nil, detect, depth),
		},
		"one more": {
			old: with(nil, detect, depth), asked: with(nil, detect, depth, pose), want: with(nil, detect, depth, pose),
			changes: []string{"group pose: new, slot 3, other, shadow"},
		},
		"one more from later on": {
			old: with(nil, detect), asked: with(nil, detect, flow.Group{Name: "depth", Slot: 2, From: from}),
			want:    with(nil, detect, flow.Group{Name: "depth", Slot: 2, From: from}),
			changes: []string{"group depth: new, slot 2, depth, required, from 2027-01-02T03:04:05Z"},
		},
		"back to what knows two": {
			old: with(nil, detect, depth, pose), asked: with(nil, detect, depth), want: with(nil, detect, depth, off(pose)),
			changes: []string{"group pose: not named, so it is off"},
		},
		"one in the middle is not named": {
			old: with(nil, detect, depth, pose), asked: with(nil, detect, pose), want: with(nil, detect, pose, off(depth)),
			changes: []string{"group depth: not named, so it is off"},
		},
		"and off already": {
			old: with(nil, detect, off(depth)), asked: with(nil, detect), want: with(nil, detect, off(depth)),
		},
		"another order: another leads": {
			old: with(nil, detect, depth), asked: with(nil, depth, detect), want: with(nil, depth, detect),
		},
		"retired is off": {
			old: with(nil, detect, depth), asked: with(nil, detect, flow.Group{Name: "depth", Slot: 2, Retired: true}), want: with(nil, detect, retired(depth)),
			changes: []string{"group depth: on → retired"},
		},
		"retired stays so": {
			old: with(nil, detect, retired(depth)), asked: with(nil, detect), want: with(nil, detect, retired(depth)),
		},
		"another need": {
			old:   with(nil, detect, depth, pose),
			asked: with(nil, detect, depth, flow.Group{Name: "pose", Slot: 3, LiveOnly: true}),
			want:  with(nil, detect, depth, flow.Group{Name: "pose", Slot: 3, LiveOnly: true}),
			changes: []string{
				"group pose: need shadow → required", "group pose: live only false → true",
			},
		},
		"the task that the name says": {
			old: with(nil, detect), asked: with(nil, flow.Group{Name: "detect", Slot: 1, Task: flow.TaskDetect}),
			want: with(nil, flow.Group{Name: "detect", Slot: 1, Task: flow.TaskDetect}),
		},
		"more partitions": {
			old: with(func(d *flow.Deployment) { d.Partitions = 4 }, detect), asked: with(nil, detect), want: with(nil, detect),
			changes: []string{"partitions: 4 → 16"},
		},
		"fewer partitions": {
			old: with(nil, detect), asked: with(func(d *flow.Deployment) { d.Partitions = 4 }, detect), want: with(nil, detect),
			changes: []string{"partitions: 16 stay, 4 were asked for"},
		},
		"messages of a version that not all read": {
			old: with(func(d *flow.Deployment) { d.Wire = 1 }, detect), asked: with(nil, detect),
			want: with(func(d *flow.Deployment) { d.Wire = 1 }, detect),
		},
		"messages of a version that is written already": {
			old: with(func(d *flow.Deployment) { d.Wire = 3 }, detect), asked: with(nil, detect),
			want: with(func(d *flow.Deployment) { d.Wire = 3 }, detect),
		},
		"limits": {
			old: with(nil, detect), asked: with(func(d *flow.Deployment) {
				d.Limits.Replicas, d.Limits.LiveReplicas, d.Limits.LiveStorage, d.Limits.ScenesKeep = 3, 0, "", time.Hour
			}, detect),
			want: with(func(d *flow.Deployment) {
				d.Limits.Replicas, d.Limits.LiveReplicas, d.Limits.ScenesKeep = 3, 3, time.Hour
			}, detect),
			changes: []string{"replicas: 1 → 3", "scenes are kept: 15m0s → 1h0m0s", "live replicas: 1 → 3"},
		},
		"live streams stay where they are": {
			old:   with(func(d *flow.Deployment) { d.Limits.LiveStorage = flow.LiveInMemory }, detect),
			asked: with(func(d *flow.Deployment) { d.Limits.LiveStorage = "" }, detect),
			want:  with(func(d *flow.Deployment) { d.Limits.LiveStorage = flow.LiveInMemory }, detect),
		},
		"live streams move": {
			old:   with(func(d *flow.Deployment) { d.Limits.LiveStorage = flow.LiveInMemory }, detect),
			asked: with(nil, detect), want: with(nil, detect), changes: []string{"live storage: memory → file"},
		},
		"the version before": {
			old: flow.OldDeployment(flow.Groups{detect, off(depth)}), asked: with(nil, detect, depth),
			want:    with(func(d *flow.Deployment) { d.Wire = 1 }, detect, depth),
			changes: []string{"partitions: 4 → 16", "group depth: off → on"},
		},
		"another slot":        {old: with(nil, detect, depth), asked: with(nil, flow.Group{Name: "depth", Slot: 1}), refused: []string{"depth", "slot 1", "slot 2"}},
		"the slot of another": {old: with(nil, detect, depth), asked: with(nil, detect, flow.Group{Name: "pose", Slot: 2}), refused: []string{"pose", "slot 2", "depth", "3"}},
		"another task":        {old: with(nil, detect, depth), asked: with(nil, detect, flow.Group{Name: "depth", Slot: 2, Task: flow.TaskDetect}), refused: []string{"depth", "detect"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, changes, err := flow.Merge(test.old, test.asked)
			if test.refused != nil {
				if !errors.Is(err, flow.ErrDeployment) {
					t.Fatalf("%v, want ErrDeployment", err)
				}
				for _, word := range test.refused {
					if !strings.Contains(err.Error(), word) {
						t.Errorf("%v does not name %q", err, word)
					}
				}
				return
			}
			if err != nil || string(got.Encode()) != string(test.want.Encode()) {
				t.Errorf("got  %s, %v\nwant %s", got.Encode(), err, test.want.Encode())
			}
			if !slices.Equal(changes, test.changes) {
				t.Errorf("said %q, want %q", changes, test.changes)
			}
		})
	}
	gap := flow.Group{Name: "pose", Slot: 4}
	if _, _, err := flow.Merge(with(nil, detect, depth), with(nil, detect, depth, gap)); !errors.Is(err, flow.ErrGroups) {
		t.Errorf("a slot is left out: %v, want ErrGroups", err)
	}
}

// Whatever is asked one after the other: what others rely on stays, and asking twice changes nothing.
func TestMergeKeepsWhatOthersRelyOn(t *testing.T) {
	t.Parallel()
	names := []string{"detect", "depth", "pose", "faces", "signs"}
	tasks := []flow.Task{"", flow.TaskDetect, flow.TaskDepth, flow.TaskOther}
	needs := []flow.Need{"", flow.NeedRequired, flow.NeedOptional, flow.NeedShadow}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		now := flow.Deployment{}
		for step := range 20 {
			asked := flow.DefaultDeployment()
			asked.Wire, asked.Partitions, asked.Groups = 1+r.IntN(3), 1+r.IntN(flow.MaxPartitions), nil
			for _, i := range r.Perm(len(names))[:1+r.IntN(len(names))] {
				slot := 1 + r.IntN(len(names))
				if known, ok := now.Groups.Find(names[i]); ok && r.IntN(5) > 0 {
					slot = known.Slot
				}
				asked.Groups = append(asked.Groups, flow.Group{
					Name: names[i], Slot: slot, Task: tasks[r.IntN(len(tasks))], Need: needs[r.IntN(len(needs))], Off: r.IntN(3) == 0, Retired: r.IntN(9) == 0,
				})
			}
			next, _, err := flow.Merge(now, asked)
			if err != nil {
				continue
			}
			where := fmt.Sprintf("seed %d, step %d: %s asked for %s got %s", seed, step, now.Encode(), asked.Encode(), next.Encode())
			if err := next.Validate(); err != nil {
				t.Fatalf("%s: %v", where, err)
			}
			if next.Partitions < now.Partitions || next.Partitions < asked.Partitions || next.Wire < now.Wire {
				t.Fatalf("%s: fewer partitions, or older messages", where)
			}
			for _, group := range now.Groups {
				same, ok := next.Groups.Find(group.Name)
				_, named := asked.Groups.Find(group.Name)
				if !ok || same.Slot != group.Slot || same.Does() != group.Does() || !named && !same.Off || group.Retired && !named && !same.Retired {
					t.Fatalf("%s: group %s", where, group.Name)
				}
			}
			again, changes, err := flow.Merge(next, asked)
			if err != nil || string(again.Encode()) != string(next.Encode()) {
				t.Fatalf("%s, and once more %s, %v", where, again.Encode(), err)
			}
			if slices.ContainsFunc(changes, func(line string) bool { return !strings.HasSuffix(line, "were asked for") }) {
				t.Fatalf("%s, and once more says %q", where, changes)
			}
			now = next
		}
	}
}
