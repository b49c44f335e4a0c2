package live

import (
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spatial-flow/spatial-flow/client/api"
)

// A viewer's writer takes one scene at a time, lest a status have to wait for all of them: it must be woken for the next.
func TestTakeWakesForWhatIsLeft(t *testing.T) {
	t.Parallel()
	h := testHub(nil)
	v := h.viewer(t, "a", "b", "c")
	for _, name := range []string{"a", "b", "c"} {
		h.addScene(scene(name, "s", 1, false), false)
	}
	taken := 0
	for len(v.wake) > 0 {
		<-v.wake
		if p, _ := v.take(time.Now()); p.scene != nil {
			taken++
		}
	}
	if taken != 3 {
		t.Errorf("woken for %d of 3 scenes", taken)
	}
}

// A viewer is told of what it watches, when that changes and every 2 s; what is known besides it is told by name when that changes.
func TestStatusOfWhatIsWatched(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := testHub(nil)
		for _, name := range []string{"a", "b", "c"} {
			h.addScene(scene(name, "s", 1, false), false)
		}
		var last told
		next := func(width int, anyway bool, watched ...string) (message string) {
			t.Helper()
			says, err := h.board.read(nil)
			if err != nil {
				t.Fatal(err)
			}
			data := last.status(says, watched, width, 20, anyway, time.Now())
			if data == nil {
				return ""
			}
			var status api.Status
			if err := json.Unmarshal(data, &status); err != nil {
				t.Fatalf("%s: %v", data, err)
			}
			for _, s := range status.Sources {
				message += fmt.Sprintf("%s %d, ", s.Source, s.Seq)
			}
			for _, s := range status.Known {
				message += fmt.Sprintf("%s is %s, ", s.Source, s.State)
			}
			if status.AdaptedWidth > 0 {
				message += fmt.Sprintf("%d wide, ", status.AdaptedWidth)
			}
			return message
		}
		want := func(got, want string) {
			t.Helper()
			if got != want {
				t.Errorf("told %q, want %q", got, want)
			}
		}
		want(next(0, false, "b", "a", "none"), "a 1, b 1, a is running, b is running, c is running, ")
		time.Sleep(statusFresh)
		want(next(0, false, "a", "b", "none"), "")
		want(next(0, true, "a", "b"), "a 1, b 1, ")
		h.addScene(scene("c", "s", 2, false), false)
		time.Sleep(statusFresh)
		want(next(0, false, "a", "b"), "") // of what others watch
		h.addScene(scene("b", "s", 2, false), false)
		want(next(0, false, "a", "b"), "") // encoded a moment ago
		time.Sleep(statusFresh)
		want(next(0, false, "a", "b"), "a 1, b 2, ")
		want(next(0, false, "c"), "c 2, ")
		want(next(640, false, "c"), "c 2, 640 wide, ")
		time.Sleep(statusMost)
		want(next(640, false, "c"), "c 2, 640 wide, ")
		time.Sleep(goneAfter - statusMost)
		want(next(0, false, "c"), "c 2, a is gone, b is gone, c is gone, ")
	})
}

// What has not changed is encoded once for all viewers.
func TestStatusIsEncodedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := testHub(nil)
		h.addScene(scene("a", "s", 1, false), false)
		h.addScene(scene("b", "s", 1, false), false)
		first, err := h.board.read(nil)
		if err != nil {
			t.Fatal(err)
		}
		h.addScene(scene("b", "s", 2, false), false)
		time.Sleep(statusFresh)
		second, err := h.board.read(nil)
		if err != nil {
			t.Fatal(err)
		}
		if first.infos["a"] != second.infos["a"] || first.known != second.known || first.infos["b"] == second.infos["b"] {
			t.Errorf("%v, then %v", first, second)
		}
	})
}

// While the status is encoded, scenes are handed on.
func TestStatusIsNotEncodedUnderTheHubsLock(t *testing.T) {
	t.Parallel()
	h := testHub(nil)
	v := h.viewer(t, "a")
	h.board.mu.Lock() // as while it is encoded
	h.addScene(scene("a", "s", 1, false), false)
	h.follow(v, []string{"a", "b"})
	h.board.mu.Unlock()
	wantScene(t, v, taken{Session: "s", Seq: 1})
}
