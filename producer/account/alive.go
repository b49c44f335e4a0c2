package account

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
)

const (
	idleFor   = 5 * time.Second            // after which a live source that captured nothing takes no share of credits
	rowsBytes = flow.MaxAliveBytes - 4<<10 // of the sources in an alive message: the rest fits beside them
)

// Reporter, of a producer that was given a list of sources, says, each time it is called, how the producer is and how many frames it finished per second since the
// time before. Its message always fits: sources of which there is news come first, the others in turn.
func Reporter(board *Board, list func() string) func() flow.Alive {
	before, finished, said := time.Now(), uint64(0), map[string]*told{}
	return func() flow.Alive {
		statuses, now, total := board.reported(), time.Now(), uint64(0)
		alive := flow.Alive{Stage: Stage, Instance: board.instance, List: list(), SourceCount: len(statuses)}
		for _, s := range statuses {
			total += s.Account.Admitted - s.Account.InFlight
		}
		if elapsed := now.Sub(before).Seconds(); elapsed > 0 {
			alive.Rate = max(0, float64(total)-float64(finished)) / elapsed // a source that is forgotten takes its frames along
		}
		before, finished = now, total
		alive.LiveSources = countLive(said, statuses, now)
		alive.Sources = fitting(said, statuses, now)
		return alive
	}
}

// told is what was said of a source.
type told struct {
	status   flow.SourceStatus // when it was last in a message
	at       time.Time         // of that message; zero: none
	captured uint64
	since    time.Time // that it has captured so many
}

// countLive keeps what was said of the sources that there are, and counts the live ones that run and capture pictures.
func countLive(said map[string]*told, statuses []flow.SourceStatus, now time.Time) (live int) {
	there := map[string]bool{}
	for _, s := range statuses {
		there[s.Source] = true
		t := said[s.Source]
		if t == nil || t.captured != s.Account.Captured {
			t = replace(said, s.Source, s.Account.Captured, now)
		}
		if s.Mode == flow.ModeLive && s.State == flow.StateRunning && now.Sub(t.since) <= idleFor {
			live++
		}
	}
	for source := range said {
		if !there[source] {
			delete(said, source)
		}
	}
	return live
}

func replace(all map[string]*told, source string, captured uint64, now time.Time) *told {
	t := all[source]
	if t == nil {
		t = new(told)
		all[source] = t
	}
	t.captured, t.since = captured, now
	return t
}

// fitting are as many statuses as a message holds, in their order.
func fitting(said map[string]*told, statuses []flow.SourceStatus, now time.Time) []flow.SourceStatus {
	turns := make([]int, len(statuses))
	for i := range turns {
		turns[i] = i
	}
	slices.SortStableFunc(turns, func(a, b int) int {
		x, y := statuses[a], statuses[b]
		newsA, newsB := said[x.Source].news(x), said[y.Source].news(y)
		switch {
		case newsA && !newsB:
			return -1
		case newsB && !newsA:
			return 1
		}
		return said[x.Source].at.Compare(said[y.Source].at)
	})
	left, taken := rowsBytes, []int{}
	for _, i := range turns {
		if left -= size(statuses[i]); left < 0 {
			break
		}
		taken = append(taken, i)
	}
	slices.Sort(taken)
	rows := make([]flow.SourceStatus, len(taken))
	for n, i := range taken {
		rows[n] = statuses[i]
		t := said[statuses[i].Source]
		t.status, t.at = statuses[i], now
	}
	return rows
}

// news says whether there is more to tell than how many frames there were.
func (t *told) news(s flow.SourceStatus) bool {
	before := t.status
	return before.Session != s.Session || before.State != s.State || before.Reason != s.Reason || before.Note != s.Note || before.Frames != s.Frames
}

// size is what a status takes of a message, in bytes.
func size(s flow.SourceStatus) int {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // as the message is encoded
	if err := encoder.Encode(s); err != nil {
		return rowsBytes // strings and numbers: can't fail
	}
	return text.Len() // a line's end where the message has a comma
}
