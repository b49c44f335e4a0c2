package account

import (
	"context"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/spatial-flow/spatial-flow/flow"
)

func frameID(seq uint64) flow.FrameID { return flow.FrameID{Source: "cam1", Session: "run1", Seq: seq} }

// TestAccountBalances drives an account through random interleavings of what can happen to frames and compares it
// with the plainest model: a set and three counts.
func TestAccountBalances(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, now := New(), time.Unix(0, 0)
		open, ended, admitted := map[uint64]bool{}, map[flow.Outcome]uint64{}, uint64(0)
		skipped, dropped := uint64(0), uint64(0)
		anySeq := func(t *rapid.T) uint64 { return rapid.Uint64Range(1, admitted+2).Draw(t, "seq") }
		outcome := rapid.SampledFrom([]flow.Outcome{flow.OutcomeComplete, flow.OutcomePartial, flow.OutcomeError})
		end := func(t *rapid.T, seq uint64, how flow.Outcome, ok bool) {
			if ok != open[seq] {
				t.Fatalf("closing %d answered %v, open: %v", seq, ok, open[seq])
			}
			if ok {
				delete(open, seq)
				ended[how]++
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"admit": func(t *rapid.T) {
				admitted++
				open[admitted] = true
				l.Admit(frameID(admitted), nil, now, now)
			},
			"done": func(t *rapid.T) {
				seq, how := anySeq(t), outcome.Draw(t, "outcome")
				_, ok := l.Done(frameID(seq), how, now)
				end(t, seq, how, ok)
			},
			"lookup": func(t *rapid.T) {
				seq, how := anySeq(t), outcome.Draw(t, "outcome")
				end(t, seq, how, l.Found(frameID(seq), how, now))
			},
			"skip": func(*rapid.T) {
				skipped++
				l.Skip("overtaken")
			},
			"drop": func(t *rapid.T) {
				seq := anySeq(t)
				if ok := l.Drop(frameID(seq), "store", now); ok != open[seq] {
					t.Fatalf("dropping %d answered %v, open: %v", seq, ok, open[seq])
				}
				if open[seq] {
					delete(open, seq)
					dropped++
				}
			},
			"expire": func(t *rapid.T) {
				if gone := l.Expire(now, func([]string) time.Duration { return time.Minute }); len(gone) != 0 {
					t.Fatalf("%v expired before their time", gone)
				}
				if gone := l.Expire(now, func([]string) time.Duration { return 0 }); len(gone) != len(open) {
					t.Fatalf("%d of %d expired", len(gone), len(open))
				}
				dropped += uint64(len(open))
				clear(open)
			},
			"time": func(t *rapid.T) {
				now = now.Add(mostSilence)
				if due := l.Due(now, 2*time.Second); len(due) != len(open) {
					t.Fatalf("%d of %d silent frames are due", len(due), len(open))
				}
				if due := l.Due(now, 2*time.Second); len(due) != 0 {
					t.Fatalf("%v are due again at once", due)
				}
			},
			"": func(t *rapid.T) {
				a := l.Snapshot()
				if err := a.Check(); err != nil {
					t.Fatal(err)
				}
				if a.Admitted != admitted || a.InFlight != uint64(len(open)) || a.Complete != ended[flow.OutcomeComplete] ||
					a.Partial != ended[flow.OutcomePartial] || a.Error != ended[flow.OutcomeError] {
					t.Fatalf("account %+v, model: admitted %d, open %d, ended %v", a, admitted, len(open), ended)
				}
				if a.Skipped["overtaken"] != skipped || a.Dropped["store"]+a.Dropped[flow.DroppedExpired] != dropped {
					t.Fatalf("account %+v, model: skipped %d, dropped %d", a, skipped, dropped)
				}
				if (a.CheckAtRest() == nil) != (len(open) == 0) {
					t.Fatalf("at rest with %d open", len(open))
				}
			},
		})
	})
}

func TestLaterDoneSuspectsEarlierFrames(t *testing.T) {
	l, now := New(), time.Now()
	for seq := range uint64(4) {
		l.Admit(frameID(seq+1), nil, now, now)
	}
	l.Done(frameID(3), flow.OutcomeComplete, now)
	select {
	case <-l.suspect:
	default:
		t.Error("nobody was told to look 1 and 2 up")
	}
	if due := l.Due(now, time.Minute); len(due) != 2 || due[0] != frameID(1) || due[1] != frameID(2) {
		t.Errorf("due %v, want 1 and 2", due)
	}
}

func TestAccountWaits(t *testing.T) {
	l, now := New(), time.Now()
	l.Admit(frameID(1), nil, now, now)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if l.Wait(ctx, 1) {
		t.Error("a full window let a frame in")
	}
	go l.Done(frameID(1), flow.OutcomeComplete, now)
	if !l.Wait(t.Context(), 1) {
		t.Error("a closed frame made no room")
	}
}

func TestLatencyWithinOnePercent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l latency
		d := time.Duration(rapid.Int64Range(int64(20*time.Microsecond), int64(time.Hour)).Draw(t, "d"))
		l.add(d)
		l.add(d)
		if got := l.quantile(.5); float64(got) < .99*float64(d) || float64(got) > 1.0101*float64(d) {
			t.Errorf("%v is estimated as %v", d, got)
		}
	})
	var l latency
	if l.quantile(.99) != 0 {
		t.Error("no latency is not 0")
	}
	for i := range 1000 {
		l.add(time.Duration(i+1) * time.Millisecond)
	}
	if p95 := l.quantile(.95).Seconds(); p95 < .94 || p95 > .96 {
		t.Errorf("p95 of 1 to 1000 ms: %v s", p95)
	}
}

// A frame that stays silent is looked up less and less often.
func TestSilenceDoubles(t *testing.T) {
	t.Parallel()
	a, now := New(), time.Unix(0, 0)
	a.Admit(frameID(1), nil, now, now)
	var at []int
	for second := range 200 {
		if len(a.Due(now.Add(time.Duration(second)*time.Second), 2*time.Second)) > 0 {
			at = append(at, second)
		}
	}
	if want := []int{2, 6, 14, 30, 62, 122, 182}; !slices.Equal(at, want) {
		t.Errorf("looked up after %v s, want %v", at, want)
	}
}
