package detect

import (
	"reflect"
	"testing"
)

func TestNamedTakesDictsAndLists(t *testing.T) {
	t.Parallel()
	want := map[any]any{0: "person", 1: "car"}
	for _, text := range []string{`{0: 'person', 1: 'car'}`, `['person', 'car']`, `("person", "car")`} {
		parsed, err := ParseLiteral(text)
		if got := named(parsed); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
	}
}
