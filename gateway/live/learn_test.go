package live

import (
	"fmt"
	"testing"
)

// What is asked for waits in order, once, with a bound, behind a list of all.
func TestLookUps(t *testing.T) {
	t.Parallel()
	l := newLookUps(3)
	for _, source := range []string{"a", "b", "a", "c", "d"} {
		l.add(newestStored{source: source})
	}
	l.addAll()
	l.addAll()
	got := ""
	for {
		one, all, ok := l.next()
		if !ok {
			break
		}
		got += fmt.Sprint(one.source, " ", all, ", ")
	}
	if want := " true, a false, b false, c false, "; got != want {
		t.Errorf("looked up are %s want %s", got, want)
	}
	l.add(newestStored{source: "a"}) // it failed, and is tried again
	if one, _, ok := l.next(); !ok || one.source != "a" || len(l.wake) != 1 {
		t.Errorf("%v, %v, %d tokens", one, ok, len(l.wake))
	}
}
