package flow_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/spatial-flow/spatial-flow/flow"
)

func TestDeploymentSurvivesItsEntry(t *testing.T) {
	t.Parallel()
	sent := flow.DefaultDeployment()
	sent.Groups = append(sent.Groups, flow.Group{
		Name: "faces", Slot: 3, Task: flow.TaskDetect, Need: flow.NeedShadow, LiveOnly: true, From: time.Unix(1_800_000_000, 0).UTC(),
	})
	got, err := flow.ParseDeployment(sent.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sent, got); diff != "" {
		t.Errorf("(-sent +got):\n%s", diff)
	}
}

func TestDeploymentValidate(t *testing.T) {
	t.Parallel()
	good := func() *flow.Deployment { d := flow.DefaultDeployment(); return &d }
	checkChanges(t, good, []change[*flow.Deployment]{
		{"one partition", func(d *flow.Deployment) { d.Partitions = 1 }, nil},
		{"three replicas, live ones in one's memory", func(d *flow.Deployment) { d.Limits.Replicas, d.Limits.LiveStorage = 3, flow.LiveInMemory }, nil},
		{"no version", func(d *flow.Deployment) { d.Version = 0 }, flow.ErrDeployment},
		{"no wire", func(d *flow.Deployment) { d.Wire = 0 }, flow.ErrDeployment},
		{"no partitions", func(d *flow.Deployment) { d.Partitions = 0 }, flow.ErrDeployment},
		{"too many partitions", func(d *flow.Deployment) { d.Partitions = flow.MaxPartitions + 1 }, flow.ErrDeployment},
		{"no groups", func(d *flow.Deployment) { d.Groups = nil }, flow.ErrGroups},
		{"replicas", func(d *flow.Deployment) { d.Limits.Replicas = 0 }, flow.ErrDeployment},
		{"more live replicas than others", func(d *flow.Deployment) { d.Limits.LiveReplicas = 2 }, flow.ErrDeployment},
		{"positions go before scenes", func(d *flow.Deployment) { d.Limits.PositionsKeep = time.Minute }, flow.ErrDeployment},
		{"no guard", func(d *flow.Deployment) { d.Limits.GuardBytes = 0 }, flow.ErrDeployment},
		{"live storage", func(d *flow.Deployment) { d.Limits.LiveStorage = "tape" }, flow.ErrDeployment},
		{"task", func(d *flow.Deployment) { d.Groups[0].Task = "guess" }, flow.ErrGroups},
		{"need", func(d *flow.Deployment) { d.Groups[0].Need = "perhaps" }, flow.ErrGroups},
		{"retired, and on", func(d *flow.Deployment) { d.Groups[0].Retired = true }, flow.ErrGroups},
	})
}

func TestParseDeploymentRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]error{
		"":                           flow.ErrDeployment,
		"[]":                         flow.ErrDeployment,
		`{"version":2,"wire":"new"}`: flow.ErrDeployment,
		`{"version":2,"anything":1}`: flow.ErrNewer,
		`{"version":1}`:              flow.ErrDeployment,
	} {
		if d, err := flow.ParseDeployment([]byte(text)); !errors.Is(err, want) {
			t.Errorf("%s: %+v, %v; want %v", text, d, err, want)
		}
	}
}

// A frame is given to a group that is not required only when it takes it, and to none before its time.
func TestLosslessPlanOfOptionalGroups(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	groups := flow.Groups{
		{Name: "shadow", Slot: 4, Need: flow.NeedShadow}, {Name: "detect", Slot: 1}, {Name: "faces", Slot: 2, Need: flow.NeedOptional},
		{Name: "later", Slot: 3, From: now.Add(time.Second)}, {Name: "gone", Slot: 5, Off: true, Retired: true},
	}
	for _, test := range []struct {
		at    time.Time
		takes []string
		want  []string
	}{
		{now, nil, []string{"detect"}},
		{now, []string{"shadow", "faces"}, []string{"detect", "faces", "shadow"}},
		{now.Add(time.Second), []string{"faces"}, []string{"detect", "faces", "later"}},
	} {
		got := groups.LosslessPlan(test.at, func(g flow.Group) bool {
			for _, name := range test.takes {
				if name == g.Name {
					return true
				}
			}
			return false
		})
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%v take (-want +got):\n%s", test.takes, diff)
		}
	}
}

// What a newer program wrote is told apart from what is no message, even when its fields are others.
func TestDecodeOfANewerVersion(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		message any
		want    error
	}{
		"newer, of other types": {map[string]any{"v": flow.Wire + 1, "src": []int{1}}, flow.ErrNewer},
		"of this version":       {map[string]any{"v": flow.Wire, "src": []int{1}}, flow.ErrMessage},
		"without a version":     {map[string]any{"src": []int{1}}, flow.ErrMessage},
	} {
		data, err := msgpack.Marshal(test.message)
		if err != nil {
			t.Fatal(err)
		}
		if err := flow.Decode(data, new(flow.Frame)); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

func TestCutText(t *testing.T) {
	t.Parallel()
	long := ""
	for len(long) < 2*flow.MaxText {
		long += "größe "
	}
	for shift := range 8 {
		cut := flow.CutText(long[shift:])
		if len(cut) > flow.MaxText || len(cut) < flow.MaxText-8 || cut[len(cut)-3:] != "…" {
			t.Errorf("cut to %d bytes: …%q", len(cut), cut[len(cut)-12:])
		}
	}
	if got := flow.CutText("short"); got != "short" {
		t.Errorf("a short text becomes %q", got)
	}
}

func TestPositionRecord(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]flow.Position{
		"0":                         {Partition: flow.FirstPartition("cam1")},
		"9223372036854775808":       {Seq: 1 << 63, Partition: flow.FirstPartition("cam1")},
		`{"seq":7,"partition":12}`:  {Seq: 7, Partition: 12},
		`{"partition":3,"later":1}`: {Partition: 3},
	} {
		got, err := flow.ParsePosition("cam1", []byte(text))
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "far", "-1", "[]", `{"seq":-1}`, `{"partition":64}`, `{"partition":-1}`} {
		if got, err := flow.ParsePosition("cam1", []byte(text)); !errors.Is(err, flow.ErrMessage) {
			t.Errorf("%q: %+v, %v; want ErrMessage", text, got, err)
		}
	}
}
