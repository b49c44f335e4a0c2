package live

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// What is asked for waits in order, once, with a bound, behind a list of all.
func TestLookUps(t *testing.T) {
	t.Parallel()
	l := newLookUps(3)
	for _, source := range []string{"a", "b", "a", "c", "d"} {
		l.add(stored{source: source})
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
	l.add(stored{source: "a"}) // it failed, and is tried again
	if one, _, ok := l.next(); !ok || one.source != "a" || len(l.wake) != 1 {
		t.Errorf("%v, %v, %d tokens", one, ok, len(l.wake))
	}
}

// Frames, for which a viewer waits, come before scenes.
func TestFramesAreLookedUpFirst(t *testing.T) {
	t.Parallel()
	l := newLookUps(2)
	for _, one := range []stored{{source: "a"}, {source: "b"}, {source: "c"}, {source: "d", frames: true}} {
		l.add(one)
	}
	var got []stored
	for one, _, ok := l.next(); ok; one, _, ok = l.next() {
		got = append(got, one)
	}
	if want := []stored{{source: "d", frames: true}, {source: "a"}, {source: "b"}}; !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// A look-up that takes long, or fails again and again, holds the others up no longer than they take.
func TestLookUpsSideBySide(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLookUps(100)
		ctx, stop := context.WithCancel(t.Context())
		var mu sync.Mutex
		done := map[string]time.Duration{}
		began := time.Now()
		lookUp := func(ctx context.Context, one stored, _ bool) error {
			switch one.source {
			case "hangs":
				<-ctx.Done()
				return ctx.Err()
			case "fails":
				return errors.New("no")
			}
			time.Sleep(time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			done[one.source] = time.Since(began)
			return nil
		}
		l.add(stored{source: "hangs"})
		l.add(stored{source: "fails"})
		for i := range 40 {
			l.add(stored{source: fmt.Sprint(i)})
		}
		var all sync.WaitGroup
		for range lookUpsAtOnce {
			all.Go(func() { l.run(ctx, lookUp, func(error) {}) })
		}
		time.Sleep(2 * time.Second)
		mu.Lock()
		if len(done) != 40 {
			t.Errorf("after 2 s, %d of 40 are looked up", len(done))
		}
		mu.Unlock()
		stop()
		all.Wait()
	})
}
