package pipeline

import (
	"fmt"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow"
)

// Groups keep their slots from run to run; those that are not wanted any more are off.
func TestGroupsKeepTheirSlots(t *testing.T) {
	t.Parallel()
	ours := flow.Groups{{Name: "detect", Slot: 1}, {Name: "depth", Slot: 2, Off: true}}
	old := flow.Groups{{Name: "detect", Slot: 1}, {Name: "pose", Slot: 2, Off: true, Retired: true}, {Name: "face", Slot: 3}}
	for _, test := range []struct {
		before, wanted flow.Groups
		want           string // name, slot, need, off
	}{
		{nil, ours, "detect 1  false; depth 2  true; "},
		{nil, append(ours[:2:2], flow.Group{Name: "pose", Need: flow.NeedShadow}), "detect 1  false; depth 2  true; pose 3 shadow false; "},
		{old, append(ours[:2:2], flow.Group{Name: "pose", Need: flow.NeedOptional}), "detect 1  false; pose 2 optional false; face 3  true; depth 4  true; "},
	} {
		groups, err := place(test.before, test.wanted)
		got := ""
		for _, g := range groups {
			got += fmt.Sprintf("%s %d %s %v; ", g.Name, g.Slot, g.Need, g.Off)
		}
		if got != test.want || err != nil {
			t.Errorf("%v after %v: %s, %v; want %s", test.wanted, test.before, got, err, test.want)
		}
	}
}
