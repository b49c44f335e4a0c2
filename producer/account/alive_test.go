package account

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
)

// However many sources there are, and whatever is said of them: the message fits, tells how many there are, tells news at
// once, and of each source within a few seconds.
func TestAliveAlwaysFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 512
		board := NewBoard()
		sources := make([]flow.SourceStatus, n)
		for i := range sources {
			sources[i] = flow.SourceStatus{Source: fmt.Sprintf("cam%d", i), URI: strings.Repeat("<", 256), Mode: flow.ModeLive}
		}
		rows := board.Add(sources, "")
		report, heard := Reporter(board, func() string { return "" }), map[string]int{}
		say := func() flow.Alive {
			time.Sleep(time.Second)
			for _, r := range rows {
				r.Account.Skip("overtaken")
			}
			alive := report()
			var text bytes.Buffer
			encoder := json.NewEncoder(&text)
			encoder.SetEscapeHTML(false)
			if err := encoder.Encode(alive); err != nil {
				t.Fatal(err)
			}
			if _, err := flow.ParseAlive(text.Bytes()); err != nil {
				t.Fatal(err)
			}
			if alive.SourceCount != n {
				t.Errorf("%d sources, want %d", alive.SourceCount, n)
			}
			return alive
		}
		for second := range 10 {
			for _, s := range say().Sources {
				heard[s.Source] = second
			}
		}
		if len(heard) != n {
			t.Errorf("in 10 s %d of %d sources were told of", len(heard), n)
		}
		rows[7].Ended(flow.StateFailed, strings.Repeat("why ", 200))
		found := false
		for _, s := range say().Sources {
			found = found || s.Source == "cam7" && s.State == flow.StateFailed
		}
		if !found {
			t.Error("it is not told at once that a source failed")
		}
	})
}

// Only live sources that run and capture pictures take a share of the credits.
func TestLiveSourcesThatCapture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		board := NewBoard()
		rows := board.Add([]flow.SourceStatus{
			{Source: "a", Mode: flow.ModeLive}, {Source: "b", Mode: flow.ModeLive}, {Source: "film", Mode: flow.ModeLossless},
		}, "")
		report := Reporter(board, func() string { return "" })
		if live := report().LiveSources; live != 2 {
			t.Errorf("%d live sources begin, want 2", live)
		}
		for range 7 {
			time.Sleep(time.Second)
			rows[0].Account.Skip("overtaken")
			report()
		}
		if live := report().LiveSources; live != 1 {
			t.Errorf("%d live sources while one has had no picture for 7 s, want 1", live)
		}
		rows[1].Account.Skip("overtaken")
		if live := report().LiveSources; live != 2 {
			t.Errorf("%d live sources when it is back, want 2", live)
		}
		rows[0].Ended(flow.StateStopped, "")
		if live := report().LiveSources; live != 1 {
			t.Errorf("%d live sources when one has stopped, want 1", live)
		}
	})
}
