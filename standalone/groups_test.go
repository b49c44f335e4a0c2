package standalone

import (
	"fmt"
	"strings"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow"
)

// Groups of one's own come after ours, and keep their slots from run to run; those that are not named any more are off.
func TestGroups(t *testing.T) {
	t.Parallel()
	old := flow.Groups{{Name: "detect", Slot: 1}, {Name: "pose", Slot: 2, Off: true, Retired: true}, {Name: "face", Slot: 3}}
	for _, test := range []struct {
		before flow.Groups
		named  []string
		want   string // name, slot, need, off
		fails  string
	}{
		{nil, nil, "detect 1  false; depth 2  true; ", ""},
		{nil, []string{"pose", "face=required", "ears=shadow"}, "detect 1  false; depth 2  true; pose 3 optional false; face 4 required false; ears 5 shadow false; ", ""},
		{old, []string{"pose=optional"}, "detect 1  false; pose 2 optional false; face 3  true; depth 4  true; ", ""},
		{nil, []string{"detect=required"}, "", "there is a group of this name"},
		{nil, []string{"pose", "pose=shadow"}, "", "there is a group of this name"},
		{nil, []string{"pose=perhaps"}, "", `need "perhaps"`},
		{nil, []string{"Pose"}, "", "lower-case"},
	} {
		up := &Up{Group: test.named, NATSListen: "127.0.0.1:0", Models: Models{DepthModel: None}}
		groups, err := up.groups(test.before)
		got := ""
		for _, g := range groups {
			got += fmt.Sprintf("%s %d %s %v; ", g.Name, g.Slot, g.Need, g.Off)
		}
		if got != test.want || (err == nil) != (test.fails == "") || err != nil && !strings.Contains(err.Error(), test.fails) {
			t.Errorf("%v after %v: %s, %v; want %s, %q", test.named, test.before, got, err, test.want, test.fails)
		}
	}
	if _, err := (&Up{Group: []string{"pose"}}).groups(nil); err == nil || !strings.Contains(err.Error(), "--nats-listen") {
		t.Errorf("nobody reaches its workers: %v", err)
	}
}
