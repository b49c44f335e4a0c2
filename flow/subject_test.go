package flow_test

import (
	"errors"
	"fmt"
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
func TestFirstPartition(t *testing.T) {
	for source, hash := range map[string]uint32{
		"": 0x811c9dc5, "a": 0xe40c292c, "b": 0xe70c2de5, "fo": 0x6222e842, "foo": 0xa9f37ed7, "foobar": 0xbf9cf968,
	} {
		if got, want := flow.FirstPartition(source), int(hash%4); got != want {
			t.Errorf("first partition of %q is %d, want %d (FNV-1a %#x)", source, got, want, hash)
		}
	}
}

// Other programs compute the same: the values are those of an independent implementation of both functions (Python).
func TestPartition(t *testing.T) {
	for source, want := range map[string]int{"": 11, "a": 3, "cam1": 10, "cam-a": 8, "cam-e": 2, "lane5": 14, "foobar": 12} {
		if got := flow.Partition(source, flow.DefaultPartitions); got != want {
			t.Errorf("partition of %q is %d, want %d", source, got, want)
		}
	}
}

// Names that people give differ in a letter or a digit: they are spread, and none of the partitions is left out.
func TestPartitionsAreUsedEvenly(t *testing.T) {
	for _, name := range []string{"cam-%c", "lane%c", "%c"} {
		letters := map[int]int{}
		for c := 'a'; c <= 'z'; c++ {
			letters[flow.Partition(fmt.Sprintf(name, c), 4)]++
		}
		for p := range 4 {
			if letters[p] < 2 || letters[p] > 13 {
				t.Errorf("%s: %d of 26 sources are in partition %d of 4", name, letters[p], p)
			}
		}
	}
	numbers := map[int]int{}
	for i := range 1600 {
		numbers[flow.Partition(fmt.Sprint("cam", i), 16)]++
	}
	for p := range 16 {
		if numbers[p] < 70 || numbers[p] > 130 {
			t.Errorf("%d of 1600 sources are in partition %d of 16", numbers[p], p)
		}
	}
}

func TestSubjects(t *testing.T) {
	id := flow.FrameID{Source: "foobar", Session: "run1", Seq: 12} // partition 0
	for got, want := range map[string]string{
		flow.ResultSubject("detect", flow.ModeLive, 0, "foobar"): "results.detect.live.0.foobar",
		flow.ResultFilter("depth", flow.ModeLossless, 3):         "results.depth.lossless.3.>",
		flow.SceneSubject(flow.ModeLive, 0, id):                  "scenes.live.0.foobar",
		flow.SceneSubject(flow.ModeLossless, 0, id):              "scenes.lossless.0.foobar.run1.12",
		flow.SceneFilter(0, "foobar", "run1"):                    "scenes.lossless.0.foobar.run1.>",
		flow.SceneFilter(flow.AnyPartition, "foobar", ""):        "scenes.lossless.*.foobar.>",
		flow.DoneSubject("fuser", "cam1"):                        "done.fuser.cam1",
		flow.AliveSubject("detect", "01K7E5"):                    "alive.detect.01K7E5",
		flow.PositionKey("cam1", "run1"):                         "position.cam1.run1",
		flow.DefaultGroups().AcceptedSubject("live", "cam1"):     "accepted.live.*.*.cam1",
		flow.AllAccepted("lossless"):                             "accepted.lossless.>",
		flow.DefaultGroups()[0].FrameFilter(flow.ModeLossless):   "frames.lossless.detect.>",
		flow.DefaultGroups()[1].FrameFilter(flow.ModeLossless):   "frames.lossless.*.depth.>",
	} {
		if got != want {
			t.Errorf("subject is %q, want %q", got, want)
		}
	}
}

func TestParsePositionKey(t *testing.T) {
	for _, test := range []struct {
		text, source, session string
		ok                    bool
	}{
		{"position.cam1.01K7E5", "cam1", "01K7E5", true},
		{"position.cam1", "", "", false},
		{"ended.cam1.01K7E5", "", "", false},
		{"", "", "", false},
	} {
		source, session, ok := flow.ParsePositionKey(test.text)
		if ok != test.ok || ok && (source != test.source || session != test.session) {
			t.Errorf("position key %q: %q, %q, %v", test.text, source, session, ok)
		}
	}
}

func TestValidPrefix(t *testing.T) {
	t.Parallel()
	for prefix, good := range map[string]bool{
		"": true, "a": true, "blue_2-X": true, strings.Repeat("a", 16): true,
		strings.Repeat("a", 17): false, "a.b": false, "a b": false, "*": false, ">": false, "$KV": false, "ü": false,
		"frames": false, "Results": false, "INGEST": false, "alive": false, "framesx": true,
	} {
		if err := flow.ValidPrefix(prefix); good != (err == nil) || !good && !errors.Is(err, flow.ErrName) {
			t.Errorf("%q: %v", prefix, err)
		}
	}
}
