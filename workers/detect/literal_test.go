package detect_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/spatial-flow/spatial-flow/workers/detect"
)

func TestParseLiteral(t *testing.T) {
	t.Parallel()
	type (
		list = []any
		dict = map[any]any
	)
	for text, want := range map[string]any{
		`None`:                                  nil,
		`True`:                                  true,
		`False`:                                 false,
		`7`:                                     7,
		`-12`:                                   -12,
		`0.5`:                                   0.5,
		`-1e-3`:                                 -0.001,
		` [ 640 , 640 ] `:                       list{640, 640},
		`(1, 'a', None)`:                        list{1, "a", nil},
		`[]`:                                    list{},
		`(1,)`:                                  list{1},
		`{}`:                                    dict{},
		`{0: 'person', 1: 'car'}`:               dict{0: "person", 1: "car"},
		"{\n'dynamic': False,\n'nms': True,\n}": dict{"dynamic": false, "nms": true},
		`{'a': [1, {'b': (2,)}]}`:               dict{"a": list{1, dict{"b": list{2}}}},
		`'it\'s'`:                               "it's",
		`"it's"`:                                "it's",
		`'"quoted"'`:                            `"quoted"`,
		`'a\\b\n\t'`:                            "a\\b\n\t",
		`'\x41\u00e9\U0001f600'`:                "Aé😀",
		`'naïve 猫'`:                             "naïve 猫",
		`''`:                                    "",
		`'{0: not a dict}'`:                     "{0: not a dict}",
		`{0: 'a', 0: 'b'}`:                      dict{0: "b"},
	} {
		got, err := detect.ParseLiteral(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %#v, %v; want %#v", text, got, err, want)
		}
	}
}

func TestParseLiteralRefuses(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		``:                         "ends too early",
		`  `:                       "ends too early",
		`person`:                   "no value",
		`__import__('os')`:         "no value",
		`True False`:               "something follows",
		`Nonesense`:                "something follows",
		`1 + 1`:                    "something follows",
		`'open`:                    "without end",
		`'open\`:                   "without end",
		`'\x4'`:                    `escape \x`,
		`'\xzz'`:                   `escape \xzz`,
		`'\U00110000'`:             `escape \U00110000`,
		`'\N{BULLET}'`:             `escape \N`,
		`[1, 2`:                    "neither comma nor ]",
		`[1, `:                     "ends too early",
		`[1 2]`:                    "neither comma nor ]",
		`[,]`:                      "no value",
		`(1]`:                      "neither comma nor )",
		`{1}`:                      "no colon",
		`{1: 2 3: 4}`:              "neither comma nor }",
		`{1: }`:                    "no value",
		`{[1]: 2}`:                 "neither string nor int",
		`{True: 2}`:                "neither string nor int",
		`{1.5: 2}`:                 "neither string nor int",
		`1e999`:                    "no value",
		`--1`:                      "no value",
		"{0: 'person'}\x00":        "something follows",
		strings.Repeat("[", 100):   "nested deeper than 8",
		strings.Repeat("{1:", 1e5): "nested deeper than 8",
		strings.Repeat(" ", 2<<20): "bytes, at most",
	} {
		value, err := detect.ParseLiteral(text)
		if !errors.Is(err, detect.ErrLiteral) || !strings.Contains(err.Error(), says) {
			t.Errorf("%.40q: %v, %v; want ErrLiteral that says %q", text, value, err, says)
		}
	}
}

func FuzzParseLiteral(f *testing.F) {
	for _, text := range []string{`{0: 'it\'s', 1: "a\x41"}`, `[640, 640]`, `(1, None, True, -2.5e3)`, `{'a': {'b': [(), {}]}}`, `'\U0001f600`, `[[[[[[[[[[`, `[[[[[[[[[]]]]]]]]]`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		value, err := detect.ParseLiteral(text)
		if err != nil {
			if value != nil || !errors.Is(err, detect.ErrLiteral) {
				t.Fatalf("%v and %v", value, err)
			}
			return
		}
		if d := depthOf(value); d > 9 {
			t.Fatalf("nested %d deep, at most 8 within the first", d)
		}
		again, err := detect.ParseLiteral(" " + text + "\n")
		if err != nil || !reflect.DeepEqual(again, value) {
			t.Fatalf("with space around it: %#v, %v; want %#v", again, err, value)
		}
	})
}

// depthOf is how deep lists and dicts are nested; it fails on what no literal is read as.
func depthOf(value any) (depth int) {
	switch v := value.(type) {
	case nil, bool, int, float64, string:
		return 0
	case []any:
		for _, inner := range v {
			depth = max(depth, depthOf(inner))
		}
		return depth + 1
	case map[any]any:
		for _, inner := range v {
			depth = max(depth, depthOf(inner))
		}
		return depth + 1
	default:
		panic("a literal of another type")
	}
}
