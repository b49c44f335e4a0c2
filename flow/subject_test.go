package flow_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow"
)

func TestValidToken(t *testing.T) {
	for _, test := range []struct {
		name string
		good bool
	}{
		{"a", true}, {"Z", true}, {"0", true}, {"_", true}, {"-", true}, {"cam-1_B", true},
		{strings.Repeat("x", 64), true},
		{"", false}, {strings.Repeat("x", 65), false},
		{".", false}, {"*", false}, {">", false}, {"a b", false}, {"a.b", false}, {"a/b", false}, {"a\n", false},
		{"é", false}, {"a\x00", false}, {"\xff", false}, {"@", false}, {"[", false}, {"`", false}, {"{", false}, {":", false},
	} {
		err := flow.ValidToken("source", test.name)
		if test.good && err != nil {
			t.Errorf("%q is refused: %v", test.name, err)
		}
		if !test.good && (!errors.Is(err, flow.ErrName) || !strings.Contains(err.Error(), "source")) {
			t.Errorf("%q: %v, want ErrName that says source", test.name, err)
		}
	}
}

func TestValidGroup(t *testing.T) {
	for _, test := range []struct {
		name string
		good bool
	}{
		{"detect", true}, {"depth", true}, {"7", true}, {strings.Repeat("x", 16), true},
		{"", false}, {strings.Repeat("x", 17), false}, {"Detect", false}, {"_", false}, {"a-b", false}, {"a.b", false}, {"*", false}, {"tiefé", false},
	} {
		err := flow.ValidGroup(test.name)
		if test.good != (err == nil) || !test.good && !errors.Is(err, flow.ErrName) {
			t.Errorf("group %q: %v, want good %v", test.name, err, test.good)
		}
	}
}

// Refused names come from outside: the reason that is logged must stay short.
func TestNamesInErrorsAreCut(t *testing.T) {
	long := strings.Repeat("\x00", 1<<20)
	for _, err := range []error{flow.ValidToken("source", long), flow.ValidGroup(long)} {
		if err == nil || len(err.Error()) > 1000 {
			t.Errorf("a name of 1 MiB makes an error of %d bytes", len(err.Error()))
		}
	}
}

// The hashes are those of http://www.isthe.com/chongo/tech/comp/fnv (FNV-1a, 32 bit): other programs compute
// the same partitions.
func TestPartition(t *testing.T) {
	for source, hash := range map[string]uint32{
		"": 0x811c9dc5, "a": 0xe40c292c, "b": 0xe70c2de5, "fo": 0x6222e842, "foo": 0xa9f37ed7, "foobar": 0xbf9cf968,
	} {
		if got, want := flow.Partition(source), int(hash%flow.Partitions); got != want {
			t.Errorf("partition of %q is %d, want %d (FNV-1a %#x)", source, got, want, hash)
		}
	}
}

func TestSubjects(t *testing.T) {
	id := flow.FrameID{Source: "foobar", Session: "run1", Seq: 12} // partition 0
	for got, want := range map[string]string{
		flow.ResultSubject("detect", flow.ModeLive, "foobar"):  "results.detect.live.0.foobar",
		flow.ResultFilter("depth", flow.ModeLossless, 3):       "results.depth.lossless.3.>",
		flow.SceneSubject(flow.ModeLive, id):                   "scenes.live.0.foobar",
		flow.SceneSubject(flow.ModeLossless, id):               "scenes.lossless.0.foobar.run1.12",
		flow.SceneFilter("foobar", "run1"):                     "scenes.lossless.0.foobar.run1.>",
		flow.SceneFilter("foobar", ""):                         "scenes.lossless.0.foobar.>",
		flow.DoneSubject("fuser", "cam1"):                      "done.fuser.cam1",
		flow.AliveSubject("detect", "01K7E5"):                  "alive.detect.01K7E5",
		flow.PositionKey("cam1", "run1"):                       "position.cam1.run1",
		flow.DefaultGroups().AcceptedSubject("live", "cam1"):   "accepted.live.*.*.cam1",
		flow.DefaultGroups()[0].FrameFilter(flow.ModeLossless): "frames.lossless.detect.>",
		flow.DefaultGroups()[1].FrameFilter(flow.ModeLossless): "frames.lossless.*.depth.>",
	} {
		if got != want {
			t.Errorf("subject is %q, want %q", got, want)
		}
	}
}

func TestParseSubjects(t *testing.T) {
	for _, test := range []struct {
		text, first, second string
		ok                  bool
	}{
		{"alive.detect.01K7E5", "detect", "01K7E5", true},
		{"alive.detect", "", "", false},
		{"done.fuser.cam1", "", "", false},
		{"", "", "", false},
	} {
		stage, instance, ok := flow.ParseAliveSubject(test.text)
		if ok != test.ok || ok && (stage != test.first || instance != test.second) {
			t.Errorf("alive subject %q: %q, %q, %v", test.text, stage, instance, ok)
		}
		key := strings.Replace(test.text, "alive.", "position.", 1)
		source, session, ok := flow.ParsePositionKey(key)
		if ok != test.ok || ok && (source != test.first || session != test.second) {
			t.Errorf("position key %q: %q, %q, %v", key, source, session, ok)
		}
	}
}
