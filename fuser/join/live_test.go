package join_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/fuser/join"
)

var begin = time.Unix(1000, 0)

// live is a live result whose group waited and worked for so long.
func live(group, source string, seq uint64, took time.Duration) *flow.Result {
	r := result(group, source, seq)
	r.Mode, r.Budget = flow.ModeLive, time.Hour
	r.Ledger = []flow.Hop{{Stage: group, Wait: took / 4, Work: took - took/4}}
	return r
}

// next takes what comes out now, as "source/seq groups", until nothing does.
func next(j *join.Live[string], now time.Time) (out []string, wake time.Time) {
	for {
		joined, at, ok := j.Next(nil, true, now)
		if !ok {
			return out, at
		}
		text := fmt.Sprintf("%s/%d", joined.Results[0].Source, joined.Results[0].Seq)
		for _, r := range joined.Results {
			text += " " + r.Group
		}
		out = append(out, text)
	}
}

func newLive(t *testing.T) *join.Live[string] {
	t.Helper()
	return join.NewLive[string](join.NewLags())
}

func wantOut(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s: %q, want %q", what, got, want)
	}
}

// A frame does not wait for an earlier one: in order, one slow depth frame would hold every detection behind it.
func TestLiveOvertakes(t *testing.T) {
	t.Parallel()
	j := newLive(t)
	j.Add(live("detect", "a", 1, time.Millisecond), false, "a1", begin)
	j.Add(live("depth", "a", 2, time.Millisecond), false, "a2", begin)
	j.Add(live("detect", "a", 2, time.Millisecond), false, "a2'", begin)
	out, _ := next(j, begin)
	wantOut(t, "both groups have frame 2", out, "a/2 detect depth")
	j.Add(live("depth", "a", 1, time.Millisecond), false, "a1'", begin)
	out, wake := next(j, begin)
	wantOut(t, "both groups have frame 1", out, "a/1 detect depth")
	if !wake.IsZero() || j.Open() != 0 {
		t.Errorf("nothing is open, but it wakes at %v and holds %v", wake, j.Open())
	}
}

func TestLiveDeadline(t *testing.T) {
	t.Parallel()
	j := newLive(t)
	add := func(group string, seq uint64, took time.Duration, now time.Time) bool {
		return j.Add(live(group, "a", seq, took), false, "h", now)
	}
	// Before the groups' times are known a frame has 2 s.
	add("detect", 1, 40*time.Millisecond, begin)
	if out, wake := next(j, begin.Add(1999*time.Millisecond)); len(out) != 0 || !wake.Equal(begin.Add(2*time.Second)) {
		t.Fatalf("%v came before its time; it wakes at %v", out, wake.Sub(begin))
	}
	out, _ := next(j, begin.Add(2*time.Second))
	wantOut(t, "at its deadline", out, "a/1 detect")
	if add("depth", 1, 2*time.Second, begin.Add(31*time.Second)) {
		t.Fatal("a late result was kept")
	}
	// A late one tells how much later than the first depth comes, as far as 30 s, and a deadline is a minute at most.
	now := begin.Add(time.Minute)
	add("detect", 2, 40*time.Millisecond, now)
	if _, wake := next(j, now); !wake.Equal(now.Add(time.Minute)) {
		t.Fatalf("deadline after %v, want a minute", wake.Sub(now))
	}
	// What groups say of their waits, by clocks of other hosts, counts for nothing.
	slow := newLive(t)
	slow.Add(live("detect", "a", 1, time.Hour), false, "h", begin)
	slow.Add(live("depth", "a", 1, time.Hour), false, "h", begin.Add(2*time.Second))
	next(slow, begin.Add(2*time.Second))
	slow.Add(live("detect", "a", 2, 0), false, "h", now)
	if _, wake := next(slow, now); !wake.Equal(now.Add(4 * time.Second)) {
		t.Fatalf("depth comes 2 s later: deadline after %v, want 4 s", wake.Sub(now))
	}
	// At least half a second.
	fast := newLive(t)
	for seq := range uint64(2) {
		fast.Add(live("detect", "a", seq+1, time.Millisecond), false, "h", begin)
		if seq == 0 {
			fast.Add(live("depth", "a", seq+1, time.Millisecond), false, "h", begin)
		}
	}
	next(fast, begin)
	if _, wake := next(fast, begin); !wake.Equal(begin.Add(500 * time.Millisecond)) {
		t.Fatalf("deadline after %v, want 500 ms", wake.Sub(begin))
	}
}

// A group that dropped a frame has answered: nobody waits for it, and it tells nothing about how long the group takes.
func TestLiveDroppedIsAnAnswer(t *testing.T) {
	t.Parallel()
	j := newLive(t)
	dropped := live("depth", "a", 1, time.Hour)
	dropped.Dropped = "expired"
	j.Add(live("detect", "a", 1, time.Millisecond), false, "x", begin)
	j.Add(dropped, false, "y", begin)
	out, _ := next(j, begin)
	wantOut(t, "all have answered", out, "a/1 detect depth")
	j.Add(live("detect", "a", 2, time.Millisecond), false, "z", begin)
	if _, wake := next(j, begin); !wake.Equal(begin.Add(2 * time.Second)) {
		t.Errorf("deadline after %v: what was dropped was learned from", wake.Sub(begin))
	}
}

// What is stale opens no frame, but ends one that waits for it.
func TestLiveStale(t *testing.T) {
	t.Parallel()
	j := newLive(t)
	if j.Add(live("detect", "a", 1, time.Millisecond), true, "x", begin) {
		t.Error("a stale result opened a frame")
	}
	j.Add(live("detect", "a", 2, time.Millisecond), false, "y", begin)
	if !j.Add(live("depth", "a", 2, time.Millisecond), true, "z", begin) {
		t.Error("a frame that waits did not take a stale result")
	}
	out, _ := next(j, begin)
	wantOut(t, "all have answered", out, "a/2 detect depth")
}

// Groups that stood still for 4 s are not waited for any longer some seconds later.
func TestLiveDeadlineForgetsAStall(t *testing.T) {
	t.Parallel()
	j := newLive(t)
	now, seq := begin, uint64(0)
	frame := func(after time.Duration) (deadline time.Duration) {
		seq++
		j.Add(live("detect", "a", seq, time.Millisecond), false, "h", now)
		_, wake := next(j, now)
		j.Add(live("depth", "a", seq, time.Millisecond), false, "h", now.Add(after))
		next(j, now.Add(after))
		deadline = wake.Sub(now)
		now = now.Add(100 * time.Millisecond)
		return deadline
	}
	for range 50 {
		frame(30 * time.Millisecond)
	}
	for range 3 {
		frame(4 * time.Second)
	}
	for range 30 {
		frame(30 * time.Millisecond)
	}
	if got := frame(30 * time.Millisecond); got > 700*time.Millisecond {
		t.Errorf("3 s after a stall of 4 s the deadline is %v, want half a second", got)
	}
}

// Without room it lets the oldest go as it is, one at a time.
func TestLiveMakesRoom(t *testing.T) {
	t.Parallel()
	j := newLive(t)
	for seq := range uint64(3) {
		j.Add(live("detect", "a", seq+1, time.Millisecond), false, "h", begin.Add(time.Duration(seq)))
	}
	joined, _, ok := j.Next(nil, false, begin.Add(time.Second))
	if !ok || !joined.Pushed || joined.Results[0].Seq != 1 {
		t.Fatalf("%+v, %v; want frame 1, pushed", joined, ok)
	}
	if _, _, ok := j.Next(nil, true, begin.Add(time.Second)); ok {
		t.Error("more than needed was let go")
	}
}

// A frame waits for an optional group, and for a shadow or what is off not at all.
func TestLiveWaitsForWhatIsNeeded(t *testing.T) {
	t.Parallel()
	for need, wait := range map[join.Need]time.Duration{
		join.Required: clock.FirstDeadline, join.Optional: clock.FirstDeadline, join.Shadow: 0, join.Off: 0,
	} {
		j := newLive(t)
		j.Add(live("detect", "a", 1, time.Millisecond), false, "h", begin)
		joined, wake, ok := j.Next(join.Needs{"depth": need}, true, begin)
		if ok != (wait == 0) || !ok && !wake.Equal(begin.Add(wait)) {
			t.Errorf("need %d: %v at once, %+v, it wakes after %v", need, ok, joined, wake.Sub(begin))
		}
	}
}

// A late result teaches how long its group takes, so the first frame alone goes out without it.
func TestLiveLearnsFromWhatIsLate(t *testing.T) {
	t.Parallel()
	j := newLive(t)
	now := begin
	for seq := uint64(1); seq <= 3; seq++ {
		j.Add(live("detect", "a", seq, time.Millisecond), false, "d", now)
		_, wake := next(j, now)
		if want := map[bool]time.Duration{true: clock.FirstDeadline, false: 10 * time.Second}[seq == 1]; wake.Sub(now) != want {
			t.Fatalf("frame %d may wait for %v, want %v", seq, wake.Sub(now), want)
		}
		next(j, now.Add(clock.FirstDeadline))
		kept := j.Add(live("depth", "a", seq, time.Millisecond), false, "e", now.Add(5*time.Second))
		if kept != (seq > 1) {
			t.Errorf("frame %d: depth after 5 s is kept: %v", seq, kept)
		}
		next(j, now.Add(5*time.Second))
		now = now.Add(time.Minute)
	}
}

// Whatever comes in whatever order and however often: no frame goes out twice, and every handle that was kept comes out.
func TestLiveGivesEveryFrameOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		j := join.NewLive[int](join.NewLags())
		room := rapid.IntRange(1, 20).Draw(t, "results that have room")
		now, handle := begin, 0
		kept, given := map[int]bool{}, map[flow.FrameID]bool{}
		take := func() {
			for {
				joined, wake, ok := j.Next(nil, len(kept) < room, now)
				if !ok {
					if !wake.IsZero() && !wake.After(now) {
						t.Fatalf("it wakes at %v, which is over at %v", wake, now)
					}
					return
				}
				id := joined.Results[0].ID()
				if given[id] {
					t.Fatalf("%s went out twice", id)
				}
				given[id] = true
				for _, h := range joined.Handles {
					if !kept[h] {
						t.Fatalf("handle %d came out without being kept, or twice", h)
					}
					delete(kept, h)
				}
			}
		}
		for range rapid.IntRange(1, 120).Draw(t, "results") {
			now = now.Add(time.Duration(rapid.IntRange(0, 900).Draw(t, "ms")) * time.Millisecond)
			r := live(rapid.SampledFrom(plan).Draw(t, "group"), "a",
				rapid.Uint64Range(1, 20).Draw(t, "seq"), time.Duration(rapid.IntRange(1, 400).Draw(t, "took"))*time.Millisecond)
			handle++
			if j.Add(r, false, handle, now) {
				kept[handle] = true
			}
			take()
		}
		now = now.Add(time.Minute)
		take()
		if len(kept) != 0 || j.Open() != 0 {
			t.Fatalf("kept for ever: %v", kept)
		}
	})
}
