package flow_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/spatial-flow/spatial-flow/flow"
)

func TestFrameIDSurvivesItsText(t *testing.T) {
	token := rapid.StringMatching(`[A-Za-z0-9_-]{1,64}`)
	rapid.Check(t, func(t *rapid.T) {
		id := flow.FrameID{Source: token.Draw(t, "source"), Session: token.Draw(t, "session"), Seq: rapid.Uint64Min(1).Draw(t, "seq")}
		got, err := flow.ParseFrameID(id.String())
		if err != nil || got != id {
			t.Fatalf("%+v became %+v, %v", id, got, err)
		}
	})
}

func TestFrameIDText(t *testing.T) {
	id := flow.FrameID{Source: "cam1", Session: "01K7E5", Seq: 42}
	if got, want := id.String(), "cam1/01K7E5/42"; got != want {
		t.Errorf("ID is %q, want %q: it is the Nats-Msg-Id of stored frames", got, want)
	}
}

// The ID of each copy of a frame names the frame, whatever its session is called.
func TestParseMessageID(t *testing.T) {
	t.Parallel()
	for _, session := range []string{"run1", "copy1"} {
		for _, copies := range []int{0, 1, 12} {
			f := flow.Frame{Source: "copy", Session: session, Seq: 7, Copy: copies}
			if id, err := flow.ParseMessageID(f.MessageID()); id != f.ID() || err != nil {
				t.Errorf("%s names %s, %v", f.MessageID(), id, err)
			}
		}
	}
	for _, text := range []string{"", "a/b", "a/b/1/copy", "a/b/1/copy0", "a/b/1/copy-1", "a/b/1/copy01", "a/b/1/copies", "a/b/1/2", "a/b/1/copy1/copy1", "a/b/1/copy1/detect"} {
		if id, err := flow.ParseMessageID(text); !errors.Is(err, flow.ErrFrameID) {
			t.Errorf("%q names %s, %v; want ErrFrameID", text, id, err)
		}
	}
}

func TestParseFrameIDRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"empty":               "",
		"no session":          "cam1",
		"no seq":              "cam1/run1",
		"empty seq":           "cam1/run1/",
		"empty source":        "/run1/1",
		"empty session":       "cam1//1",
		"seq 0":               "cam1/run1/0",
		"leading zero":        "cam1/run1/01",
		"sign":                "cam1/run1/+1",
		"negative":            "cam1/run1/-1",
		"hexadecimal":         "cam1/run1/0x1",
		"underscored":         "cam1/run1/1_0",
		"beyond 64 bits":      "cam1/run1/18446744073709551616",
		"fourth part":         "cam1/run1/1/2",
		"space":               "cam1/run1/1 ",
		"dot in the source":   "cam.1/run1/1",
		"wildcard":            "*/run1/1",
		"letter beyond ASCII": "caméra/run1/1",
		"long source":         strings.Repeat("a", 65) + "/run1/1",
		"long session":        "cam1/" + strings.Repeat("a", 65) + "/1",
		"NUL":                 "cam1\x00/run1/1",
	} {
		if id, err := flow.ParseFrameID(text); !errors.Is(err, flow.ErrFrameID) {
			t.Errorf("%s: %q was read as %+v, %v; want ErrFrameID", name, text, id, err)
		}
	}
}

func FuzzParseFrameID(f *testing.F) {
	for _, text := range []string{"cam1/run1/7", "a/b/18446744073709551615", "cam1/run1/007", "//", "cam.1/x/1", "cam1/run1/1/2"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := flow.ParseFrameID(text)
		switch {
		case err != nil && !errors.Is(err, flow.ErrFrameID):
			t.Errorf("%q: %v, want ErrFrameID", text, err)
		case err == nil && id.String() != text:
			t.Errorf("%q was read as %q", text, id)
		case err == nil && id.Validate() != nil:
			t.Errorf("%q was read as an ID that is not valid: %v", text, id.Validate())
		}
	})
}

// A change is one thing that is wrong with an otherwise good message.
type change[M any] struct {
	name  string
	apply func(M)
	want  error // nil: still valid
}

func checkChanges[M interface{ Validate() error }](t *testing.T, good func() M, changes []change[M]) {
	t.Helper()
	if err := good().Validate(); err != nil {
		t.Fatalf("the good %T is refused: %v", good(), err)
	}
	for _, c := range changes {
		message := good()
		c.apply(message)
		if err := message.Validate(); !errors.Is(err, c.want) {
			t.Errorf("%T, %s: %v, want %v", message, c.name, err, c.want)
		}
	}
}

func manyGroups(n int) []string {
	plan := make([]string, n)
	for i := range plan {
		plan[i] = "g" + string(rune('a'+i))
	}
	return plan
}

func TestFrameValidate(t *testing.T) {
	checkChanges(t, sampleFrame, []change[*flow.Frame]{
		{"live", func(f *flow.Frame) { f.Mode, f.Budget = flow.ModeLive, time.Second }, nil},
		{"live without a budget", func(f *flow.Frame) { f.Mode, f.Budget = flow.ModeLive, 0 }, flow.ErrMessage},
		{"an error instead of a picture", func(f *flow.Frame) { f.Picture, f.Error, f.Width, f.Height = nil, "broken", 0, 0 }, nil},
		{"as many groups as there may be", func(f *flow.Frame) { f.Plan = manyGroups(flow.MaxGroups) }, nil},
		{"source", func(f *flow.Frame) { f.Source = "cam.1" }, flow.ErrFrameID},
		{"source says why", func(f *flow.Frame) { f.Source = "cam.1" }, flow.ErrName},
		{"session", func(f *flow.Frame) { f.Session = "" }, flow.ErrFrameID},
		{"seq", func(f *flow.Frame) { f.Seq = 0 }, flow.ErrFrameID},
		{"no version", func(f *flow.Frame) { f.Version = 0 }, flow.ErrMessage},
		{"later version", func(f *flow.Frame) { f.Version = flow.Wire + 1 }, flow.ErrNewer},
		{"version 1 with a partition", func(f *flow.Frame) { f.Version, f.Partition = 1, 3 }, flow.ErrMessage},
		{"last partition", func(f *flow.Frame) { f.Partition = flow.MaxPartitions - 1 }, nil},
		{"partition", func(f *flow.Frame) { f.Partition = flow.MaxPartitions }, flow.ErrMessage},
		{"copy", func(f *flow.Frame) { f.Copy = -1 }, flow.ErrMessage},
		{"side", func(f *flow.Frame) { f.Height = flow.MaxDimension + 1 }, flow.ErrMessage},
		{"long error", func(f *flow.Frame) { f.Error = strings.Repeat("e", flow.MaxText+1) }, flow.ErrMessage},
		{"no mode", func(f *flow.Frame) { f.Mode = "" }, flow.ErrMessage},
		{"unknown mode", func(f *flow.Frame) { f.Mode = "fast" }, flow.ErrMessage},
		{"no plan", func(f *flow.Frame) { f.Plan = nil }, flow.ErrMessage},
		{"group twice", func(f *flow.Frame) { f.Plan = []string{"detect", "detect"} }, flow.ErrMessage},
		{"bad group", func(f *flow.Frame) { f.Plan = []string{"Detect"} }, flow.ErrMessage},
		{"too many groups", func(f *flow.Frame) { f.Plan = manyGroups(flow.MaxGroups + 1) }, flow.ErrMessage},
	})
}
