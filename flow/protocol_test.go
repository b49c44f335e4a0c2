package flow_test

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
)

// protocolKey is a row of a message's table: its first cell is a key.
var protocolKey = regexp.MustCompile("^\\| `([^`]+)` \\|")

// TestProtocol compares the tables of docs/protocol.md with the msgpack keys of the Go types.
func TestProtocol(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "docs", "protocol.md"))
	if err != nil {
		t.Fatal(err)
	}
	tables := protocolTables(string(data))
	for _, message := range []any{
		flow.Frame{}, flow.Result{}, flow.Detection{}, flow.BoxDepth{}, depthmap.Map{}, flow.Scene{},
		flow.Done{}, flow.Hop{}, flow.Held{}, flow.Failure{}, depthmap.Range{},
	} {
		typ := reflect.TypeOf(message)
		documented, ok := tables[documentedName(typ)]
		if !ok {
			t.Errorf("docs/protocol.md has no table under a heading ### %s", documentedName(typ))
			continue
		}
		keys := msgpackKeys(typ)
		for _, key := range keys {
			if !slices.Contains(documented, key) {
				t.Errorf("docs/protocol.md lacks key %q of %s", key, documentedName(typ))
			}
		}
		for i, key := range documented {
			if !slices.Contains(keys, key) {
				t.Errorf("docs/protocol.md has key %q, which %s has not", key, documentedName(typ))
			}
			if slices.Contains(documented[:i], key) {
				t.Errorf("docs/protocol.md has key %q of %s twice", key, documentedName(typ))
			}
		}
	}
}

// protocolTables is the keys of the tables by their ### heading.
func protocolTables(text string) map[string][]string {
	tables, heading := map[string][]string{}, ""
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			heading, _ = strings.CutPrefix(strings.TrimSpace(line), "### ")
		} else if row := protocolKey.FindStringSubmatch(line); row != nil {
			tables[heading] = append(tables[heading], row[1])
		}
	}
	return tables
}

// msgpackKeys is the keys of a type, in the order of its fields. A field without a tag goes by its own name.
func msgpackKeys(typ reflect.Type) []string {
	var keys []string
	for i := range typ.NumField() {
		field := typ.Field(i)
		key, _, _ := strings.Cut(field.Tag.Get("msgpack"), ",")
		switch {
		case !field.IsExported() || key == "-":
			continue
		case key == "":
			key = field.Name
		}
		keys = append(keys, key)
	}
	return keys
}

// documentedName is what the docs call a type: those of depthmap and configured by their package too.
func documentedName(typ reflect.Type) string {
	switch {
	case strings.HasSuffix(typ.PkgPath(), "/depthmap"):
		return "Depth" + typ.Name()
	case strings.HasSuffix(typ.PkgPath(), "/configured"):
		return "Configured" + typ.Name()
	}
	return typ.Name()
}
