package workers

import (
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
)

// answerAll makes answers of outputs, one after the other, until no more come.
func (w *worker) answerAll() {
	for t := range w.inferred {
		w.answer(t)
	}
}

// answer makes a frame's answer of what the model put out, and has it stored.
func (w *worker) answer(t *task) {
	began := time.Now()
	t.resume(began)
	err := readOutput(w.model, t.output, t.outputs, t.fit, t.result)
	w.release(t)
	t.pause(time.Now())
	w.observe("postprocess", t.idle.Sub(began))
	w.pace.answered(t.idle.Sub(began), t.work)
	if err != nil {
		w.failed(t, flow.CauseModel, err)
		return
	}
	w.conclude(t)
}

// refuse answers a frame whose picture can't be looked at.
func (w *worker) refuse(t *task, err error) {
	if t.end() {
		w.answerError(t, err.Error(), flow.Failure{Class: flow.ClassPicture})
	}
}

// lose answers a frame that has had its tries.
func (w *worker) lose(t *task, cause flow.Cause, why string) {
	w.metrics.lost.WithLabelValues(string(cause)).Inc()
	w.answerError(t, why, flow.Failure{Class: flow.ClassLost, Cause: cause})
}

// drop answers a live frame that is not looked at.
func (w *worker) drop(t *task, reason string) {
	if !t.end() {
		return
	}
	t.result.Dropped = reason
	w.metrics.dropped.WithLabelValues(reason).Inc()
	w.conclude(t)
}

func (w *worker) answerError(t *task, why string, failure flow.Failure) {
	r := t.result
	r.Error, r.Class, r.Cause = flow.CutText(why), failure.Class, failure.Cause
	r.Detections, r.Depth, r.Answers = nil, nil, nil
	r.Width, r.Height = t.frame.Width, t.frame.Height
	w.conclude(t)
}

// conclude has a settled frame's answer stored, while the stages go on.
func (w *worker) conclude(t *task) {
	hop := &t.result.Ledger[len(t.result.Ledger)-1]
	hop.Work = t.work
	hop.Wait += t.waited
	t.leave()
	w.storing.Go(func() { w.finish(w.running, t) })
}

// giveBack gives a settled frame back, to come again after a delay. That it was tried here does not count.
func (w *worker) giveBack(t *task, after time.Duration) {
	t.try.end(w, t, false)
	w.nak(t, after)
}

func (w *worker) nak(t *task, after time.Duration) {
	if after > 0 {
		_ = t.msg.NakWithDelay(after) // unheard it comes again after AckWait
	} else {
		_ = t.msg.Nak()
	}
	w.hand.drop(t)
	t.leave()
}
