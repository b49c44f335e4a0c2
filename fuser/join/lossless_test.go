package join_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/fuser/join"
)

var plan = []string{flow.GroupDetect, flow.GroupDepth}

func result(group, source string, seq uint64) *flow.Result {
	return &flow.Result{
		Version: flow.Wire, Group: group, Source: source, Session: "s", Seq: seq,
		Mode: flow.ModeLossless, Width: 64, Height: 48, Plan: plan,
	}
}

// Whatever the order, duplicates and redeliveries: every frame comes out exactly once, in order, and every
// handle that went in comes out.
func TestLosslessGivesEveryFrameOnceInOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		frames := rapid.IntRange(1, 30).Draw(t, "frames")
		start := rapid.Uint64Range(0, 5).Draw(t, "stored before")
		var deliveries []*flow.Result
		for i := range frames {
			for _, group := range plan {
				for range rapid.IntRange(1, 3).Draw(t, "copies") {
					deliveries = append(deliveries, result(group, "a", uint64(i)+1))
				}
			}
		}
		shuffle(t, deliveries)
		ahead := rapid.IntRange(0, 3).Draw(t, "given out before the first is stored")
		j := join.NewLossless[int](start, join.NewLags())
		var given []uint64
		waiting, stored := map[int]bool{}, 0
		store := func() {
			stored++
			for _, h := range j.Stored() {
				if !waiting[h] {
					t.Fatalf("handle %d came out without going in, or twice", h)
				}
				delete(waiting, h)
			}
		}
		for handle, r := range deliveries {
			before, err := j.Add(r, true, handle, begin)
			if err != nil {
				t.Fatal(err)
			}
			if before != (r.Seq <= start+uint64(stored)) {
				t.Fatalf("frame %d is said to be stored: %v, after %d", r.Seq, before, start+uint64(stored))
			}
			if !before {
				waiting[handle] = true
			}
			for joined, _, ok := j.Next(nil, begin); ok; joined, _, ok = j.Next(nil, begin) {
				for i, r := range joined.Results {
					if r.Group != plan[i] || r.Seq != joined.Results[0].Seq {
						t.Fatalf("joined %v with %v", r, joined.Results[0])
					}
				}
				given = append(given, joined.Results[0].Seq)
				if len(given) > stored+ahead {
					store()
				}
			}
		}
		for stored < len(given) {
			store()
		}
		var want []uint64
		for seq := start + 1; seq <= uint64(frames); seq++ {
			want = append(want, seq)
		}
		if !slices.Equal(given, want) {
			t.Fatalf("scenes %v, want %v", given, want)
		}
		if len(waiting) != 0 || j.Open() != 0 {
			t.Fatalf("never given back: %v, open %d", waiting, j.Open())
		}
	})
}

func shuffle(t *rapid.T, results []*flow.Result) {
	seed := rapid.Uint64().Draw(t, "seed")
	rand.New(rand.NewPCG(seed, 1)).Shuffle(len(results), func(i, j int) { results[i], results[j] = results[j], results[i] })
}

// A joiner without any room still gets through, when what it refuses comes again later.
func TestLosslessWithoutRoomStillProgresses(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		frames := rapid.IntRange(1, 20).Draw(t, "frames")
		room := rapid.IntRange(0, 5).Draw(t, "results that have room")
		j := join.NewLossless[int](0, join.NewLags())
		var queue []*flow.Result
		for i := range frames {
			queue = append(queue, result(flow.GroupDetect, "a", uint64(i)+1), result(flow.GroupDepth, "a", uint64(i)+1))
		}
		shuffle(t, queue)
		scenes, held := 0, 0
		for tries := 0; len(queue) > 0; tries++ {
			if tries > 2*frames*frames*4+10 {
				t.Fatalf("stuck after %d scenes with %d results", scenes, len(queue))
			}
			r := queue[0]
			queue = queue[1:]
			if _, err := j.Add(r, held < room, 0, begin); errors.Is(err, join.ErrFull) {
				queue = append(queue, r)
				continue
			}
			held++
			for _, _, ok := j.Next(nil, begin); ok; _, _, ok = j.Next(nil, begin) {
				held -= len(j.Stored())
				scenes++
			}
		}
		if scenes != frames || held != 0 {
			t.Fatalf("%d scenes of %d frames, %d results held", scenes, frames, held)
		}
	})
}

// out is the next frame's groups, or nil.
func out(j *join.Lossless[int], needs join.Needs, now time.Time) (groups []string, wake time.Time) {
	joined, wake, ok := j.Next(needs, now)
	if !ok {
		return nil, wake
	}
	for _, r := range joined.Results {
		groups = append(groups, r.Group)
	}
	j.Stored()
	return groups, wake
}

func add(t *testing.T, j *join.Lossless[int], r *flow.Result, now time.Time) {
	t.Helper()
	if _, err := j.Add(r, true, 0, now); err != nil {
		t.Fatal(err)
	}
}

// A group that is off is waited for no more, but what it answered before counts.
func TestLosslessDoesNotWaitForWhatIsOff(t *testing.T) {
	t.Parallel()
	j, needs := join.NewLossless[int](0, join.NewLags()), join.Needs{flow.GroupDepth: join.Off}
	add(t, j, result(flow.GroupDetect, "a", 2), begin)
	if got, _ := out(j, needs, begin); got != nil {
		t.Fatalf("%v of frame 2 before frame 1", got)
	}
	add(t, j, result(flow.GroupDepth, "a", 1), begin)
	if got, _ := out(j, needs, begin); got != nil {
		t.Fatalf("frame 1 went out with %v, without detect, which is on", got)
	}
	add(t, j, result(flow.GroupDetect, "a", 1), begin)
	for _, want := range [][]string{{flow.GroupDetect, flow.GroupDepth}, {flow.GroupDetect}} {
		if got, _ := out(j, needs, begin); !slices.Equal(got, want) {
			t.Fatalf("results of %v, want %v", got, want)
		}
	}
}

// A frame that was sent again with another plan is complete when either plan is answered: the copies that a group has
// had already are not answered twice.
func TestLosslessFrameWithTwoPlans(t *testing.T) {
	t.Parallel()
	with := func(group string, copies int, plan ...string) *flow.Result {
		r := result(group, "a", 1)
		r.Plan, r.Copy = plan, copies
		return r
	}
	three := []string{flow.GroupDetect, flow.GroupDepth, "pose"}
	for name, test := range map[string]struct {
		results []*flow.Result
		want    []string
	}{
		"the shorter, sent again": {[]*flow.Result{with("detect", 0, three...), with("depth", 1, plan...)}, plan},
		"the longer, sent again":  {[]*flow.Result{with("detect", 0, plan...), with("pose", 1, three...), with("depth", 1, three...)}, plan},
		"none of them":            {[]*flow.Result{with("detect", 0, plan...), with("pose", 1, three...)}, nil},
		"copies of one plan":      {[]*flow.Result{with("detect", 0, plan...), with("detect", 1, plan...), with("depth", 2, plan...)}, plan},
	} {
		j := join.NewLossless[int](0, join.NewLags())
		for _, r := range test.results {
			add(t, j, r, begin)
		}
		if got, _ := out(j, nil, begin); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

// A frame waits for an optional group until the group's deadline, for a shadow for the least deadline, and for a required one
// for ever.
func TestLosslessWaitsForWhatIsNotRequired(t *testing.T) {
	t.Parallel()
	for need, wait := range map[join.Need]time.Duration{join.Optional: clock.FirstDeadline, join.Shadow: clock.LeastDeadline} {
		j, needs := join.NewLossless[int](0, join.NewLags()), join.Needs{"depth": need}
		add(t, j, result(flow.GroupDetect, "a", 1), begin)
		got, wake := out(j, needs, begin)
		if got != nil || !wake.Equal(begin.Add(wait)) {
			t.Fatalf("need %d: %v at once, and at %v, want after %v", need, got, wake.Sub(begin), wait)
		}
		if got, _ = out(j, needs, wake); !slices.Equal(got, []string{flow.GroupDetect}) {
			t.Errorf("need %d: %v at the deadline", need, got)
		}
		add(t, j, result(flow.GroupDepth, "a", 2), begin)
		if got, wake = out(j, needs, wake.Add(time.Hour)); got != nil || !wake.IsZero() {
			t.Errorf("need %d: %v of frame 2, without detect; it wakes at %v", need, got, wake)
		}
		add(t, j, result(flow.GroupDetect, "a", 2), begin)
		if got, _ = out(j, needs, begin); !slices.Equal(got, plan) {
			t.Errorf("need %d: %v, all have answered", need, got)
		}
	}
}
