package lossless

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
)

const (
	againWithin  = 10 * time.Second // that a frame is tried to be published again, before others are looked up
	followsEvery = time.Second      // look at groups that are not required and do not keep up
)

// lookUp asks, until ctx ends, what became of frames that nothing is heard of, and publishes those again of which nothing is
// to be found. It calls closed when there is no connection left to ask on.
func (l *carrier) lookUp(ctx context.Context, closed context.CancelCauseFunc) {
	ticker, follows := time.NewTicker(lookupEvery), time.NewTicker(followsEvery)
	defer ticker.Stop()
	defer follows.Stop()
	told := false
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-follows.C:
			err = l.forgiveFollowers(ctx)
		case <-l.account.Suspect():
			err = l.lookUpDue(ctx)
		case <-ticker.C:
			err = l.lookUpDue(ctx)
		}
		switch {
		case err == nil:
			told = false
		case errors.Is(err, nats.ErrConnectionClosed):
			closed(err)
			return
		case ctx.Err() == nil && !told:
			l.log.Warn("waiting to look frames up", "error", err)
			told = true
		}
	}
}

// lookUpDue looks the frames up that are due.
func (l *carrier) lookUpDue(ctx context.Context) error {
	due := l.account.Due(time.Now(), l.cfg.Silence)
	if len(due) == 0 {
		return nil
	}
	open, err := l.withoutScene(ctx, due)
	if err != nil || len(open) == 0 {
		return err
	}
	lost, waiting, err := l.withoutTrace(ctx, open)
	if waiting != "" {
		l.row.Waiting("waiting for " + waiting)
	}
	if err != nil || len(lost) == 0 {
		return err
	}
	// What is not there any more may have been used meanwhile: results are acked after their scene is stored.
	if lost, err = l.withoutScene(ctx, lost); err != nil {
		return err
	}
	for _, id := range lost {
		err = errors.Join(err, l.publishAgain(ctx, id))
	}
	return err
}

// withoutScene closes the frames that have their scene, and lists the others. A scene that is not kept any more is told by the
// position of the session, which is asked before the scenes: what is stored meanwhile is found with its own outcome.
func (l *carrier) withoutScene(ctx context.Context, ids []flow.FrameID) (open []flow.FrameID, err error) {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	position, _, err := l.bus.Position(call, l.spec.Name, l.session)
	if err != nil && !errors.Is(err, bus.ErrNotFound) {
		return nil, err
	}
	for _, id := range ids {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		outcome, err := l.bus.SceneOutcome(call, l.partition, id)
		cancel()
		switch {
		case err == nil:
			l.found(id, outcome)
		case !errors.Is(err, bus.ErrNotFound):
			return nil, err
		case id.Seq <= position.Seq:
			l.log.Debug("the scene is not kept any more, and counts as complete", "seq", id.Seq, "position", position.Seq)
			l.found(id, flow.OutcomeComplete)
		default:
			open = append(open, id)
		}
	}
	return open, nil
}

func (l *carrier) found(id flow.FrameID, outcome flow.Outcome) {
	if l.account.Found(id, outcome, time.Now()) {
		l.closed(id.Seq, outcome)
	}
}

// publishAgain publishes a frame that was lost once more, as a copy: with another Nats-Msg-Id, and else as it was.
func (l *carrier) publishAgain(ctx context.Context, id flow.FrameID) error {
	k := l.window.hold(id.Seq)
	if k == nil {
		return nil
	}
	defer l.window.free(k)
	d, _ := l.deployed.Now()
	k.frame.Copy++
	d.Stamp(k.frame, l.partition)
	l.log.Warn("nothing of a frame is to be found any more: it is published again", "seq", id.Seq, "copy", k.frame.Copy)
	l.metrics.Republished()
	ctx, cancel := context.WithTimeout(ctx, againWithin)
	defer cancel()
	return l.store(ctx, d.Groups, k)
}

// forgiveFollowers looks at the groups that are not required and have as many frames unanswered as there may be: of those that
// are not in FRAMES any more the answer was not heard.
func (l *carrier) forgiveFollowers(ctx context.Context) error {
	for group, oldest := range l.window.oldest() {
		if oldest.sequence == 0 {
			continue
		}
		call, cancel := context.WithTimeout(ctx, callTimeout)
		there, err := l.bus.HasFrame(call, oldest.frame, oldest.sequence)
		cancel()
		if err != nil {
			return err
		}
		if !there {
			l.window.answered(group, oldest.frame.Seq)
		}
	}
	return nil
}
