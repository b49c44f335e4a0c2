package join_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/fuser/join"
)

var plan = []string{flow.GroupDetect, flow.GroupDepth}

func result(group, source string, seq uint64) *flow.Result {
	return &flow.Result{
		Version: flow.Wire, Group: group, Source: source, Session: "s", Seq: seq,
		Mode: flow.ModeLossless, Width: 64, Height: 48, Plan: plan,
	}
}

var unbounded = join.Limits{Sessions: 100, Bytes: 1 << 30}

// Whatever the order, duplicates and redeliveries: every frame comes out exactly once, in order, and every
// handle that went in comes out.
func TestJoinerGivesEveryFrameOnceInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		frames := rapid.IntRange(1, 30).Draw(t, "frames")
		start := rapid.Uint64Range(0, 5).Draw(t, "stored before")
		sources := []string{"a", "b"}
		type delivery struct {
			result   *flow.Result
			sequence uint64
		}
		var deliveries []delivery
		for i := range frames {
			for g, group := range plan {
				for _, source := range sources {
					copies := rapid.IntRange(1, 3).Draw(t, "copies")
					for c := range copies {
						deliveries = append(deliveries, delivery{result(group, source, uint64(i)+1), uint64(i*10 + g*1000 + c/2)})
					}
				}
			}
		}
		seed := rapid.Uint64().Draw(t, "seed")
		rand.New(rand.NewPCG(seed, 1)).Shuffle(len(deliveries), func(i, j int) { deliveries[i], deliveries[j] = deliveries[j], deliveries[i] })

		j := join.NewJoiner[string](unbounded, nil)
		for _, source := range sources {
			if _, err := j.Open(join.Session{Source: source, Name: "s"}, start); err != nil {
				t.Fatal(err)
			}
		}
		out := map[string][]uint64{}
		waiting := map[string]bool{}
		for _, d := range deliveries {
			handle := fmt.Sprintf("%s/%s/%d/%d", d.result.Source, d.result.Group, d.result.Seq, d.sequence)
			stored, err := j.Add(d.result, d.sequence, 10, handle)
			if err != nil {
				t.Fatal(err)
			}
			if stored {
				continue
			}
			waiting[handle] = true
			session := join.Session{Source: d.result.Source, Name: "s"}
			for results := j.Next(session); results != nil; results = j.Next(session) {
				for i, r := range results {
					if r.Group != plan[i] || r.Seq != results[0].Seq || r.Source != d.result.Source {
						t.Fatalf("joined %v with %v", r, results[0])
					}
				}
				out[d.result.Source] = append(out[d.result.Source], results[0].Seq)
				for _, h := range j.Stored(session) {
					if !waiting[h] {
						t.Fatalf("handle %s came out without going in", h)
					}
					delete(waiting, h)
				}
			}
		}
		for _, source := range sources {
			var want []uint64
			for seq := start + 1; seq <= uint64(frames); seq++ {
				want = append(want, seq)
			}
			if !slices.Equal(out[source], want) {
				t.Fatalf("%s: scenes %v, want %v", source, out[source], want)
			}
		}
		if left := slices.Collect(j.Held()); len(left) != 0 || len(waiting) != 0 || j.Bytes() != 0 {
			t.Fatalf("left behind: %v, never given back: %v, bytes %d", left, waiting, j.Bytes())
		}
	})
}

// A joiner with almost no room still gets through, when what it refuses comes again later.
func TestJoinerWithoutRoomStillProgresses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		frames := rapid.IntRange(1, 20).Draw(t, "frames")
		j := join.NewJoiner[int](join.Limits{Sessions: 1, Bytes: rapid.Int64Range(0, 50).Draw(t, "bytes")}, nil)
		session := join.Session{Source: "a", Name: "s"}
		if _, err := j.Open(session, 0); err != nil {
			t.Fatal(err)
		}
		var queue []*flow.Result
		for i := range frames {
			queue = append(queue, result(flow.GroupDetect, "a", uint64(i)+1), result(flow.GroupDepth, "a", uint64(i)+1))
		}
		seed := rapid.Uint64().Draw(t, "seed")
		rand.New(rand.NewPCG(seed, 2)).Shuffle(len(queue), func(i, j int) { queue[i], queue[j] = queue[j], queue[i] })
		scenes := 0
		for tries := 0; len(queue) > 0; tries++ {
			if tries > 2*frames*frames*4+10 {
				t.Fatalf("stuck after %d scenes with %d results", scenes, len(queue))
			}
			r := queue[0]
			queue = queue[1:]
			if _, err := j.Add(r, r.Seq, 10, 0); errors.Is(err, join.ErrFull) {
				queue = append(queue, r)
				continue
			}
			for j.Next(session) != nil {
				j.Stored(session)
				scenes++
			}
		}
		if scenes != frames {
			t.Fatalf("%d scenes of %d frames", scenes, frames)
		}
	})
}

func TestJoinerForgetsTheSessionLongestUnused(t *testing.T) {
	j := join.NewJoiner[int](join.Limits{Sessions: 2, Bytes: 100}, nil)
	open := func(name string) (*join.Session, error) { return j.Open(join.Session{Source: name, Name: "s"}, 0) }
	open("a")
	open("b")
	if _, err := j.Add(result(flow.GroupDetect, "a", 1), 1, 1, 1); err != nil {
		t.Fatal(err)
	}
	forgotten, err := open("c") // a has something open
	if err != nil || forgotten == nil || forgotten.Source != "b" {
		t.Fatalf("forgot %v, %v; want b", forgotten, err)
	}
	if _, err := j.Add(result(flow.GroupDetect, "c", 1), 1, 1, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := open("d"); !errors.Is(err, join.ErrFull) {
		t.Fatalf("opened a third session beside two that wait: %v", err)
	}
}

// A group that is left out is waited for no more, but what it answered before counts.
func TestJoinerDoesNotWaitForWhatIsLeftOut(t *testing.T) {
	j := join.NewJoiner[int](unbounded, []string{flow.GroupDepth})
	session := join.Session{Source: "a", Name: "s"}
	if _, err := j.Open(session, 0); err != nil {
		t.Fatal(err)
	}
	add := func(group string, seq uint64) {
		if _, err := j.Add(result(group, "a", seq), seq, 1, 0); err != nil {
			t.Fatal(err)
		}
	}
	add(flow.GroupDetect, 2)
	if results := j.Next(session); results != nil {
		t.Fatalf("frame %d before frame 1", results[0].Seq)
	}
	add(flow.GroupDepth, 1)
	if results := j.Next(session); results != nil {
		t.Fatal("frame 1 went out without detect, which is not left out")
	}
	add(flow.GroupDetect, 1)
	for seq, want := range [][]string{1: {flow.GroupDetect, flow.GroupDepth}, 2: {flow.GroupDetect}} {
		if want == nil {
			continue
		}
		var got []string
		for _, r := range j.Next(session) {
			got = append(got, r.Group)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("frame %d: results of %v, want %v", seq, got, want)
		}
		j.Stored(session)
	}
}
