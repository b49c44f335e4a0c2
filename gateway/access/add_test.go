package access

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What is added is read as it was meant, and what was there stays as it was written.
func TestAdd(t *testing.T) {
	t.Parallel()
	e := Entry{Name: "wall", Sum: Sum(NewToken()), Sources: []string{"cam*", "yard"}, May: []Right{View, Predict}, Expires: time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC), Rate: .5}
	want := entry{name: "wall", sum: e.Sum, sources: e.Sources, may: e.May, expires: e.Expires, rate: e.Rate}
	ops := "- {name: ops, sha256: " + sumText("a") + ", may: [status]}"
	for name, before := range map[string]string{
		"none": "", "empty": "\n", "indented": "# who\ntokens:\n    " + ops + " # him\n", "not indented, no end": "tokens:\n" + ops,
		"written by add": "tokens:\n" + Entry{Name: "ops", Sum: Sum("a"), May: []Right{Status}}.String(),
	} {
		file := filepath.Join(t.TempDir(), "tokens.yaml")
		if name != "none" {
			if err := os.WriteFile(file, []byte(before), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := Add(file, e); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		data, err := readFile(file)
		if err != nil {
			t.Fatal(err)
		}
		entries, err := parse(file, data)
		if err != nil || len(entries) == 0 || !entries[len(entries)-1].equal(want) || !strings.HasPrefix(string(data), before) {
			t.Errorf("%s: %s %+v, %v", name, data, entries, err)
		}
		if err := Add(file, e); !errors.Is(err, ErrFile) || !strings.Contains(err.Error(), "another token of this name") {
			t.Errorf("%s: again: %v", name, err)
		}
	}
}

func TestAddRefuses(t *testing.T) {
	t.Parallel()
	good := Entry{Name: "wall", Sum: Sum("b"), Sources: []string{"*"}, May: []Right{View}}
	for name, test := range map[string]struct {
		before string
		change func(*Entry)
		want   string
	}{
		"a name":        {"", func(e *Entry) { e.Name = "Wall" }, "name: want"},
		"more lines":    {"", func(e *Entry) { e.Name = "a\n    rate: 1" }, "name: want"},
		"a source":      {"", func(e *Entry) { e.Sources = []string{"a.b"} }, "sources: a pattern"},
		"no source":     {"", func(e *Entry) { e.Sources = nil }, "sources: who may view"},
		"a right":       {"", func(e *Entry) { e.May = []Right{"veiw"} }, "may: there are"},
		"a rate":        {"", func(e *Entry) { e.Rate = -1 }, "rate: want"},
		"a wrong file":  {"tokens:\n- {}\n", func(*Entry) {}, "token 1"},
		"another style": {"tokens: []\n", func(*Entry) {}, "add the entry yourself"},
	} {
		file := filepath.Join(t.TempDir(), "tokens.yaml")
		if err := os.WriteFile(file, []byte(test.before), 0o600); err != nil {
			t.Fatal(err)
		}
		e := good
		test.change(&e)
		err := Add(file, e)
		data, _ := os.ReadFile(file)
		if !errors.Is(err, ErrFile) || !strings.Contains(err.Error(), test.want) || string(data) != test.before {
			t.Errorf("%s: %v, want %s; the file says %s", name, err, test.want, data)
		}
		if err := e.Validate(); (err == nil) != (test.before != "") {
			t.Errorf("%s: by itself %v", name, err)
		}
	}
}
