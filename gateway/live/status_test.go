package live

import (
	"encoding/json"
	"strings"
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
		if p, _ := v.take(); p.scene != nil {
			taken++
		}
	}
	if taken != 3 {
		t.Errorf("woken for %d of 3 scenes", taken)
	}
}

func TestStatusIsEncodedForAllAndRenewed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := testHub(nil)
		v := h.viewer(t, "a")
		v.take()
		// message is what a viewer gets next.
		message := func() (raw []byte, status api.Status) {
			t.Helper()
			raw, err := h.statusMessage()
			if err != nil {
				t.Fatal(err)
			}
			v.offerStatus([]byte("overtaken"))
			v.offerStatus(raw) // only the newest is kept
			p, ok := v.take()
			if err := json.Unmarshal(p.status, &status); !ok || err != nil || len(status.Sources) != 1 {
				t.Fatalf("%s: %v", p.status, err)
			}
			if p, ok := v.take(); ok {
				t.Errorf("another status %s", p.status)
			}
			return raw, status
		}
		for seq := uint64(1); seq <= 8; seq++ {
			h.addScene(scene("a", "s", seq, false), false)
		}
		for range 3 {
			h.tick()
		}
		time.Sleep(statusFresh)
		first, status := message()
		if got := status.Sources[0]; got.Seq != 8 || got.ScenesPerSecond != 2 { // 8 in 4 s
			t.Errorf("%+v", got)
		}
		h.addScene(scene("a", "s", 9, false), false)
		if again, _ := message(); &again[0] != &first[0] {
			t.Error("encoded again at once")
		}
		h.follow(v, []string{"a"}) // is told what is new at once, and nothing older after that
		if p, _ := v.take(); !strings.Contains(string(p.status), `"seq":9`) {
			t.Errorf("told %s", p.status)
		}
		if _, status := message(); status.Sources[0].Seq != 9 {
			t.Errorf("older than what was told before: %+v", status.Sources[0])
		}
		h.addScene(scene("a", "s", 10, false), false)
		v.take()
		time.Sleep(statusFresh)
		if _, status := message(); status.Sources[0].Seq != 10 {
			t.Errorf("old status: %+v", status.Sources[0])
		}
	})
}
