package flow_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"pgregory.net/rapid"

	"github.com/spatial-flow/spatial-flow/flow"
)

func TestGroupsValidate(t *testing.T) {
	full := make(flow.Groups, flow.MaxGroups)
	for i := range full {
		full[i] = flow.Group{Name: fmt.Sprint("g", i), Slot: i + 1}
	}
	for _, test := range []struct {
		name   string
		groups flow.Groups
		good   bool
	}{
		{"default", flow.DefaultGroups(), true},
		{"slots in another order than the groups", flow.Groups{{Name: "depth", Slot: 2}, {Name: "detect", Slot: 1}}, true},
		{"one off", flow.Groups{{Name: "detect", Slot: 1}, {Name: "depth", Slot: 2, Off: true}}, true},
		{"as many as there may be", full, true},
		{"none", nil, false},
		{"too many", append(slices.Clone(full), flow.Group{Name: "more", Slot: flow.MaxGroups + 1}), false},
		{"slot 0", flow.Groups{{Name: "detect"}}, false},
		{"negative slot", flow.Groups{{Name: "detect", Slot: -1}}, false},
		{"gap", flow.Groups{{Name: "detect", Slot: 1}, {Name: "depth", Slot: 3}}, false},
		{"slot twice", flow.Groups{{Name: "detect", Slot: 1}, {Name: "depth", Slot: 1}}, false},
		{"name twice", flow.Groups{{Name: "detect", Slot: 1}, {Name: "detect", Slot: 2}}, false},
		{"bad name", flow.Groups{{Name: "_", Slot: 1}}, false},
	} {
		err := test.groups.Validate()
		if test.good != (err == nil) || !test.good && !errors.Is(err, flow.ErrGroups) {
			t.Errorf("%s: %v, want good %v", test.name, err, test.good)
		}
	}
}

func TestLosslessPlan(t *testing.T) {
	for _, test := range []struct {
		name   string
		groups flow.Groups
		want   []string
	}{
		{"default", flow.DefaultGroups(), []string{"detect", "depth"}},
		{"slot order, not the entry's", flow.Groups{{Name: "c", Slot: 3}, {Name: "a", Slot: 1}, {Name: "b", Slot: 2}}, []string{"a", "b", "c"}},
		{"off", flow.Groups{{Name: "detect", Slot: 1, Off: true}, {Name: "depth", Slot: 2}}, []string{"depth"}},
		{"live only", flow.Groups{{Name: "detect", Slot: 1}, {Name: "pose", Slot: 2, LiveOnly: true}}, []string{"detect"}},
		{"nothing on", flow.Groups{{Name: "detect", Slot: 1, Off: true}}, []string{}},
	} {
		before := slices.Clone(test.groups)
		if got := test.groups.LosslessPlan(time.Now(), nil); !slices.Equal(got, test.want) {
			t.Errorf("%s: plan %q, want %q", test.name, got, test.want)
		}
		if !slices.Equal(before, test.groups) {
			t.Errorf("%s: making the plan changed the groups to %v", test.name, test.groups)
		}
	}
}

func TestOnKeepsTheOrderAndTheEntry(t *testing.T) {
	groups := flow.Groups{{Name: "depth", Slot: 2}, {Name: "detect", Slot: 1, Off: true}, {Name: "pose", Slot: 3, LiveOnly: true}}
	before := slices.Clone(groups)
	if got, want := groups.On(time.Now()), (flow.Groups{groups[0], groups[2]}); !slices.Equal(got, want) {
		t.Errorf("on are %v, want %v", got, want)
	}
	if !slices.Equal(before, groups) {
		t.Errorf("On changed the groups to %v", groups)
	}
}

func TestFrameSubject(t *testing.T) {
	swapped := flow.Groups{{Name: "depth", Slot: 2}, {Name: "detect", Slot: 1}}
	for _, test := range []struct {
		groups flow.Groups
		plan   []string
		want   string
	}{
		{flow.DefaultGroups(), []string{"detect", "depth"}, "frames.live.detect.depth.cam1"},
		{flow.DefaultGroups(), []string{"detect"}, "frames.live.detect._.cam1"},
		{flow.DefaultGroups(), []string{"depth"}, "frames.live._.depth.cam1"},
		{flow.DefaultGroups(), nil, "frames.live._._.cam1"},
		{swapped, []string{"depth", "detect"}, "frames.live.detect.depth.cam1"},
	} {
		if got := test.groups.FrameSubject(flow.ModeLive, test.plan, "cam1"); got != test.want {
			t.Errorf("plan %q of %v: subject %q, want %q", test.plan, test.groups, got, test.want)
		}
	}
}

// A group's filter takes exactly the frames whose plan names it, whatever the source is called, and goes on
// doing so when another group gets a slot behind it: frames with the old and the new number of slots are on
// their way at once.
func TestFrameFilterGoesOnMatching(t *testing.T) {
	all := flow.Groups{{Name: "detect", Slot: 1}, {Name: "depth", Slot: 2}, {Name: "pose", Slot: 3}, {Name: "plate", Slot: 4}}
	rapid.Check(t, func(t *rapid.T) {
		groups := all[:rapid.IntRange(1, len(all)).Draw(t, "groups")]
		var plan []string
		for _, group := range groups {
			if rapid.Bool().Draw(t, "in plan") {
				plan = append(plan, group.Name)
			}
		}
		source := rapid.SampledFrom([]string{"cam1", "detect", "depth", "pose", "_"}).Draw(t, "source")
		mode := rapid.SampledFrom([]flow.Mode{flow.ModeLive, flow.ModeLossless}).Draw(t, "mode")
		subject := groups.FrameSubject(mode, plan, source)
		for _, group := range all {
			for _, filterMode := range []flow.Mode{flow.ModeLive, flow.ModeLossless} {
				filter := group.FrameFilter(filterMode)
				want := filterMode == mode && slices.Contains(plan, group.Name)
				if got := server.SubjectMatchesFilter(subject, filter); got != want {
					t.Fatalf("%s selects %s: %v, want %v", filter, subject, got, want)
				}
			}
		}
		accepted := strings.Replace(subject, "frames.", "accepted.", 1)
		for _, other := range []string{"cam1", "detect", "depth", "pose", "_"} {
			filter := groups.AcceptedSubject(mode, other)
			if got := server.SubjectMatchesFilter(accepted, filter); got != (other == source) {
				t.Fatalf("%s selects %s: %v, want %v", filter, accepted, got, other == source)
			}
		}
	})
}

func TestGroupsSurviveTheirEntry(t *testing.T) {
	groups := flow.Groups{{Name: "detect", Slot: 1}, {Name: "depth", Slot: 2, Off: true}, {Name: "pose", Slot: 3, LiveOnly: true}}
	const want = `[{"name":"detect","slot":1},{"name":"depth","slot":2,"off":true},{"name":"pose","slot":3,"live_only":true}]`
	if got := string(groups.Encode()); got != want {
		t.Errorf("entry is %s, want %s", got, want)
	}
	if got, err := flow.ParseGroups([]byte(want)); err != nil || !slices.Equal(got, groups) {
		t.Errorf("read %v, %v; want %v", got, err, groups)
	}
}

func TestParseGroupsRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":        "",
		"null":           "null",
		"empty list":     "[]",
		"object":         `{"name":"detect","slot":1}`,
		"two values":     `[{"name":"detect","slot":1}] []`,
		"cut":            `[{"name":"detect"`,
		"fraction":       `[{"name":"detect","slot":1.5}]`,
		"slot as text":   `[{"name":"detect","slot":"1"}]`,
		"slot too large": `[{"name":"detect","slot":9223372036854775807}]`,
		"beyond an int":  `[{"name":"detect","slot":9223372036854775808}]`,
		"wildcard":       `[{"name":"*","slot":1}]`,
		"null inside":    `[null]`,
		"nested deep":    strings.Repeat("[", 20000),
		"many":           "[" + strings.Repeat(`{"name":"a","slot":1},`, 1000) + `{"name":"b","slot":2}]`,
	} {
		if groups, err := flow.ParseGroups([]byte(text)); !errors.Is(err, flow.ErrGroups) {
			t.Errorf("%s: read as %v, %v; want ErrGroups", name, groups, err)
		}
	}
}

func FuzzParseGroups(f *testing.F) {
	f.Add(flow.DefaultGroups().Encode())
	f.Add([]byte(`[{"name":"detect","slot":-1}]`))
	f.Add([]byte(`[{"name":"a","slot":2,"off":true},{"NAME":"b","Slot":1,"live_only":true}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		groups, err := flow.ParseGroups(data)
		if err != nil {
			if !errors.Is(err, flow.ErrGroups) {
				t.Errorf("%q: %v, want ErrGroups", data, err)
			}
			return
		}
		again, err := flow.ParseGroups(groups.Encode())
		if err != nil || !slices.Equal(again, groups) {
			t.Errorf("%v became %v, %v", groups, again, err)
		}
		subject := groups.FrameSubject(flow.ModeLossless, groups.LosslessPlan(time.Now(), nil), "cam1")
		if slots := strings.Count(subject, "."); slots != len(groups)+2 {
			t.Errorf("%v: %s has %d slots", groups, subject, slots-2)
		}
	})
}

// Gateways may publish frames of sources of their own alone: no other one fits their subjects, and no worker believes one that says otherwise.
func TestPredictSubjects(t *testing.T) {
	t.Parallel()
	groups := flow.DefaultGroups()
	subject := groups.FrameSubject(flow.ModeLive, []string{flow.GroupDetect}, "predict-1")
	if subject != "frames.live.detect._._predict.predict-1" || !slices.Contains(flow.PredictSubjects(), "frames.live.*.*._predict.*") || len(flow.PredictSubjects()) != flow.MaxGroups {
		t.Errorf("%s, %v", subject, flow.PredictSubjects())
	}
	for _, test := range []struct {
		source, subject string
		ok              bool
	}{
		{"predict-1", subject, true},
		{"predict-1", "frames.live.detect._.predict-1", true}, // of a gateway from before
		{"cam1", groups.FrameSubject(flow.ModeLive, nil, "cam1"), true},
		{"cam1", "blue." + groups.FrameSubject(flow.ModeLossless, nil, "cam1"), true},
		{"cam1", subject, false},
		{"cam1", "frames.live.detect._._predict.cam1", false},
		{"cam1", "frames.live.detect._.cam2", false},
		{"cam1", "", false},
	} {
		frame := flow.Frame{Source: test.source}
		if err := frame.ValidSubject(test.subject); test.ok != (err == nil) || err != nil && !errors.Is(err, flow.ErrMessage) {
			t.Errorf("a frame of %s on %s: %v", test.source, test.subject, err)
		}
	}
}
