package account

import (
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
)

// Reporter says, each time it is called, how the producer is and how many frames it finished per second since the
// time before.
func Reporter(board *Board) func() flow.Alive {
	before, finished := time.Now(), uint64(0)
	return func() flow.Alive {
		alive := flow.Alive{Stage: Stage, Instance: board.instance, Sources: board.Statuses()}
		now, total := time.Now(), uint64(0)
		for _, s := range alive.Sources {
			total += s.Account.Admitted - s.Account.InFlight
		}
		if elapsed := now.Sub(before).Seconds(); elapsed > 0 {
			alive.Rate = float64(total-finished) / elapsed
		}
		before, finished = now, total
		return alive
	}
}
