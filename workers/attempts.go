package workers

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
)

// maxAttempts is how many tries a frame has. The first one is not noted before it fails, so a frame that ends each worker that
// looks at it ends three; and a worker that has done nothing wrong has nothing to note.
const maxAttempts = 2

const (
	attemptsWithin = 2 * time.Second        // to read and write the note
	elsewhereDelay = 300 * time.Millisecond // until what has had its try here comes again, to another worker
)

// attempt is one try of a frame. While its picture is decoded, and while the model is at it or at its shape for the first time, there
// is a note of it in KV, if the frame was delivered more than once: who dies of it leaves the note behind. Of a frame that waits for a stage, or whose answer is
// on its way, there is none: nobody dies of that. How often a frame was delivered says nothing: it was handed on by workers that
// stopped or did not understand it, or got lost with a connection.
type attempt struct {
	before flow.Attempts // tries that nobody finished
	noted  atomic.Bool
}

// begin notes that something is about to be done with a frame that came again, unless there were too many tries before: then the
// frame is given up, and false is returned. What can't be noted is tried all the same.
func (w *worker) begin(t *task) bool {
	if t.meta.NumDelivered <= 1 {
		return true
	}
	ctx, cancel := context.WithTimeout(context.Background(), attemptsWithin)
	defer cancel()
	before, err := w.env.Bus.Attempts(ctx, w.cfg.Group, t.frame.ID())
	t.try.before = before
	if err == nil {
		t.try.noted.Store(true)
		if before.Tries >= maxAttempts {
			if t.end() {
				w.lose(t, before.Cause, givenUp(before))
			}
			return false
		}
		err = w.env.Bus.SetAttempts(ctx, w.cfg.Group, t.frame.ID(), flow.Attempts{Tries: before.Tries + 1, Cause: flow.CauseKilled})
	}
	if err != nil {
		w.env.Log.Warn("a try is not noted", "frame", t.frame.ID().String(), "error", err)
	}
	return true
}

// givenUp says why a frame is not begun any more.
func givenUp(before flow.Attempts) string {
	if before.Cause == flow.CauseKilled {
		return fmt.Sprintf("given up: %d workers began it when it came again, and died or lost NATS over it", before.Tries)
	}
	return fmt.Sprintf("given up after %d tries: %s", before.Tries, before.Cause)
}

// end takes the note back: nobody died of the frame. An answered one has no notes.
func (a *attempt) end(w *worker, t *task, answered bool) {
	switch {
	case !a.noted.Swap(false):
	case answered:
		w.noteTries(t, flow.Attempts{})
	default:
		w.noteTries(t, a.before)
	}
}

func (w *worker) noteTries(t *task, a flow.Attempts) {
	ctx, cancel := context.WithTimeout(context.Background(), attemptsWithin)
	defer cancel()
	if err := w.env.Bus.SetAttempts(ctx, w.cfg.Group, t.frame.ID(), a); err != nil {
		w.env.Log.Warn("what is noted of a frame's tries is not right", "frame", t.frame.ID().String(), "error", err)
	}
}

// countAgainst counts a failed try of a settled frame: it is given back, so that another worker tries it, or, after its last try,
// answered. A live one has its budget's time for that.
func (w *worker) countAgainst(t *task, cause flow.Cause, err error) {
	tried := flow.Attempts{Tries: t.try.before.Tries + 1, Cause: cause}
	w.failures.add(t.frame.ID(), time.Now())
	inTime := !t.live() || t.stream+time.Since(t.received) < t.frame.Budget
	if tried.Tries >= maxAttempts || !inTime {
		w.lose(t, cause, fmt.Sprintf("given up after %d tries: %v", tried.Tries, err))
		return
	}
	w.env.Log.Warn("a frame is given back", "group", w.cfg.Group, "frame", t.frame.ID().String(), "cause", cause, "error", err)
	w.noteTries(t, tried)
	w.nak(t, 0)
}

// failures are the frames that failed here, as far as that is remembered.
type failures struct {
	mu sync.Mutex
	at map[flow.FrameID]time.Time
}

const (
	failuresKept = 10 * time.Minute
	mostFailures = 1024
)

func (f *failures) add(id flow.FrameID, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for other, at := range f.at {
		if now.Sub(at) >= failuresKept || len(f.at) >= mostFailures {
			delete(f.at, other)
		}
	}
	f.at[id] = now
}

func (f *failures) here(id flow.FrameID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, ok := f.at[id]
	return ok && time.Since(at) < failuresKept
}
