package lossless

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/spatial-flow/spatial-flow/flow/bus"
)

// lookUp asks, until ctx ends, for the scenes of frames whose done may have been lost. It calls closed when there is
// no connection left to ask on.
func (l *carrier) lookUp(ctx context.Context, closed context.CancelCauseFunc) {
	ticker := time.NewTicker(lookupEvery)
	defer ticker.Stop()
	told := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.account.Suspect():
		case <-ticker.C:
		}
		for _, id := range l.account.Due(time.Now(), l.cfg.Silence) {
			call, cancel := context.WithTimeout(ctx, callTimeout)
			outcome, err := l.bus.SceneOutcome(call, l.partition, id)
			cancel()
			switch {
			case err == nil:
				told = false
				if l.account.Found(id, outcome, time.Now()) {
					l.closed(id.Seq, outcome)
				}
			case errors.Is(err, bus.ErrNotFound):
				told = false
			case errors.Is(err, nats.ErrConnectionClosed):
				closed(err)
				return
			case ctx.Err() == nil && !told:
				l.log.Warn("waiting to look scenes up", "error", err)
				told = true
			}
		}
	}
}
