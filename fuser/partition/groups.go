package partition

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/flow/service"
)

// AwaitGroups reads the groups entry, and waits for it.
func AwaitGroups(ctx context.Context, env service.Env) (flow.Groups, error) {
	for told := false; ; told = true {
		groups, err := env.Bus.Groups(ctx)
		if err == nil || errors.Is(err, flow.ErrGroups) {
			return groups, err
		}
		if !told {
			env.Log.Warn("waiting for the groups entry", "error", err)
		}
		if !clock.Sleep(ctx, 200*time.Millisecond) {
			return nil, fmt.Errorf("wait for the groups entry: %w", context.Cause(ctx))
		}
	}
}

const groupsEvery = time.Second

// NewestGroups is the groups entry as it was read last.
type NewestGroups struct {
	env    service.Env
	groups atomic.Pointer[flow.Groups] // a new pointer when they are others
}

// ReadGroups makes the newest groups of what was read.
func ReadGroups(env service.Env, groups flow.Groups) *NewestGroups {
	n := &NewestGroups{env: env}
	n.groups.Store(&groups)
	return n
}

// Watch reads the entry until ctx ends.
func (n *NewestGroups) Watch(ctx context.Context) error {
	for clock.Sleep(ctx, groupsEvery) {
		call, cancel := context.WithTimeout(ctx, stoppedWithin)
		groups, err := n.env.Bus.Groups(call)
		cancel()
		if err == nil && !slices.Equal(groups, *n.groups.Load()) { // unread, what was there before counts
			n.env.Log.Info("groups changed", "groups", string(groups.Encode()))
			n.groups.Store(&groups)
		}
	}
	return nil
}
