package flow_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/spatial-flow/spatial-flow/client/api"
	"github.com/spatial-flow/spatial-flow/flow"
)

func pack(t testing.TB, value any) []byte {
	t.Helper()
	data, err := msgpack.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestAppendJSON(t *testing.T) {
	t.Parallel()
	for want, value := range map[string]any{
		`null`: nil, `true`: true, `false`: false, `0`: 0, `127`: 127, `-1`: -1, `-32`: -32, `-33`: int8(-33), `200`: uint8(200),
		`-30000`: int16(-30000), `60000`: uint16(60000), `-2000000000`: int32(-2000000000), `4000000000`: uint32(4000000000),
		`-9223372036854775808`: int64(math.MinInt64), `18446744073709551615`: uint64(math.MaxUint64),
		`0.1`: float32(0.1), `0.25`: 0.25, `1e+300`: 1e300, `""`: "", `"café"`: "café",
		`"\"a\\b\n"`: "\"a\\b\n", `"/9j/"`: []byte{0xff, 0xd8, 0xff}, `[]`: []int{}, `[1,[2,"x"],{}]`: []any{1, []any{2, "x"}, map[string]int{}},
		`{"a":{"b":[null]}}`: map[string]any{"a": map[string]any{"b": []any{nil}}}, `{"7":true}`: map[int]bool{7: true},
		`{"true":1}`: map[bool]int{true: 1}, `{"0.5":1}`: map[float64]int{0.5: 1},
		`"` + strings.Repeat("x", 300) + `"`: strings.Repeat("x", 300), `[` + strings.Repeat("1,", 69999) + `1]`: make70000(t),
	} {
		got, err := flow.AppendJSON([]byte("before "), pack(t, value))
		if list, large := value.([]int); large && len(list) > flow.MaxElements {
			if !errors.Is(err, flow.ErrMessage) {
				t.Errorf("%d elements: %v, want ErrMessage", len(list), err)
			}
			continue
		}
		if err != nil || string(got) != "before "+want {
			t.Errorf("%v is %s, %v; want %s", value, got, err, want)
		}
	}
	for name, test := range map[string]struct {
		data []byte
		want string
	}{
		"not a number":       {pack(t, math.NaN()), `null`},
		"infinite":           {pack(t, float32(math.Inf(-1))), `null`},
		"no UTF-8":           {[]byte{0xa1, 0xff}, `"\ufffd"`},
		"a key that is bin":  {[]byte{0x81, 0xc4, 1, 0xff, 1}, `{"/w==":1}`},
		"a key that is null": {[]byte{0x81, 0xc0, 1}, `{"null":1}`},
		"a key that is one":  {[]byte{0x81, 0x91, 0xa1, 'a', 1}, `{"kaFh":1}`},
		"an extension":       {[]byte{0xd4, 5, 0xff}, `"/w=="`},
		"a longer one":       {[]byte{0xc7, 3, 5, 1, 2, 3}, `"AQID"`},
	} {
		if got, err := flow.AppendJSON(nil, test.data); err != nil || string(got) != test.want {
			t.Errorf("%s: %s, %v; want %s", name, got, err, test.want)
		}
	}
	for name, data := range map[string][]byte{"nothing": nil, "two values": {1, 2}, "cut": {0xa5, 'a'}, "reserved": {0xc1}, "deep": deep(20)} {
		if _, err := flow.AppendJSON(nil, data); !errors.Is(err, flow.ErrMessage) {
			t.Errorf("%s: %v, want ErrMessage", name, err)
		}
	}
}

func make70000(t testing.TB) []int {
	t.Helper()
	list := make([]int, 70000)
	for i := range list {
		list[i] = 1
	}
	return list
}

func deep(n int) []byte {
	data := make([]byte, n+1)
	for i := range n {
		data[i] = 0x91
	}
	return data
}

// Whatever a worker says, a scene is JSON, and what a group answered is in it by the group's name.
func TestSceneJSONHasAnswers(t *testing.T) {
	t.Parallel()
	scene := flow.Scene{Source: "cam1", Session: "s", Seq: 1, Answers: map[string]map[string]msgpack.RawMessage{
		"pose": {"people": pack(t, []any{map[string]any{"nose": []float32{1.5, 2}}}), "broken": {0xc1}, "none": nil},
	}}
	line, err := scene.AppendLine(nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := `"answers":{"pose":{"broken":null,"none":null,"people":[{"nose":[1.5,2]}]}}`; !strings.Contains(string(line), want) {
		t.Errorf("%s\nhas no %s", line, want)
	}
	var read api.Scene
	if err := json.Unmarshal(line, &read); err != nil || string(read.Answers["pose"]["people"]) != `[{"nose":[1.5,2]}]` {
		t.Errorf("read are the answers %s, %v", read.Answers, err)
	}
	scene.Answers = nil
	if line, err := scene.AppendLine(nil); err != nil || strings.Contains(string(line), "answers") {
		t.Errorf("without answers: %s, %v", line, err)
	}
}

func FuzzAppendJSON(f *testing.F) {
	for _, value := range []any{nil, 1, -1.5, "x", []byte{1}, []any{1, "a"}, map[any]any{1: 2, "a": nil}} {
		f.Add(pack(f, value))
	}
	f.Add([]byte{0x81, 0x91, 0xd4, 1, 2, 0xca, 0x7f, 0x80, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		text, err := flow.AppendJSON(nil, data)
		if (err == nil) != (flow.Scan(data) == nil) {
			t.Fatalf("%x: %v", data, err)
		}
		if err == nil && !json.Valid(text) {
			t.Fatalf("%x is %s", data, text)
		}
		if len(text) > 8*len(data) {
			t.Fatalf("%d bytes become %d", len(data), len(text))
		}
	})
}
