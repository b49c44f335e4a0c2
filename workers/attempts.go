package workers

import (
	"context"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
)

// maxAttempts is how often a frame that came again is begun. So a frame that ends each worker that looks at it ends three: the
// first try of a frame is not noted, and a worker that has done nothing wrong has nothing to note.
const maxAttempts = 2

const attemptsWithin = 2 * time.Second // to read and write the note

// attempt is one try of a frame that came again, of which there is a note in KV while it lasts: who dies of it leaves the note
// behind. How often a frame was delivered says nothing: it was handed on by workers that stopped or did not understand it, or
// got lost with a connection.
type attempt struct {
	w      *worker
	id     flow.FrameID
	before int // tries that nobody finished
	noted  bool
}

// begin notes the try, unless there were too many before: then the frame is to be given up. What can't be noted is tried all the
// same.
func (w *worker) begin(ctx context.Context, frame *flow.Frame) (a attempt, giveUp bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptsWithin)
	defer cancel()
	a = attempt{w: w, id: frame.ID()}
	var err error
	if a.before, err = w.env.Bus.Attempts(ctx, w.cfg.Group, a.id); err == nil {
		if a.noted = true; a.before >= maxAttempts {
			return a, true
		}
		err = w.env.Bus.SetAttempts(ctx, w.cfg.Group, a.id, a.before+1)
	}
	if err != nil {
		w.env.Log.Warn("a try is not noted", "frame", a.id.String(), "error", err)
	}
	return a, false
}

// end takes the note back: nobody died of the frame. An answered one has no notes.
func (a attempt) end(ctx context.Context, answered bool) {
	if !a.noted {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptsWithin)
	defer cancel()
	left := a.before
	if answered {
		left = 0
	}
	if err := a.w.env.Bus.SetAttempts(ctx, a.w.cfg.Group, a.id, left); err != nil {
		a.w.env.Log.Warn("a try that has ended is still noted", "frame", a.id.String(), "error", err)
	}
}
