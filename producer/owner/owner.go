// Package owner sees to it that a source's name has one producer. Producers that are given the same sources share them, each
// as many as fall to it, and stand by for the others.
package owner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/producer/account"
	"github.com/spatial-flow/spatial-flow/producer/fleet"
)

const (
	tryEvery    = 250 * time.Millisecond // for the lease of a name, with as much again of jitter
	shareEvery  = time.Second            // look whether there is one name too many
	callTimeout = 2 * time.Second        // of one question to NATS
	endedAfter  = 5 * time.Second        // a lease that nobody renews has ended long before
)

// LeaseName is what the lease of a source's name is called.
func LeaseName(source string) string { return "source." + source }

// List names a list of sources, whatever its order: those who say the same share them.
func List(names []string) string {
	h := fnv.New64a() // http://www.isthe.com/chongo/tech/comp/fnv/
	h.Write([]byte(strings.Join(slices.Sorted(slices.Values(names)), " ")))
	return strconv.FormatUint(h.Sum64(), 16)
}

// Owner is a producer as the owner of names.
type Owner struct {
	bus    *bus.Bus
	log    *slog.Logger
	holder string // instance of the producer
	fleet  *fleet.Fleet
	never  bool // stand by

	mu    sync.Mutex
	list  string
	names int
	owned int // or being tried
}

// New is the owner of none of the names. With never it does not stand by for a name that is taken.
func New(b *bus.Bus, log *slog.Logger, holder string, fleet *fleet.Fleet, names []string, never bool) *Owner {
	o := &Owner{bus: b, log: log, holder: holder, fleet: fleet, never: never}
	o.SetNames(names)
	return o
}

// SetNames says which names there are from now on.
func (o *Owner) SetNames(names []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list, o.names = List(names), len(names)
}

// List names the list of names as it is now.
func (o *Owner) List() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.list
}

// Task carries a source while its name is owned. Its context ends when the name, or the producer, is to be given up; held says
// whether nobody else can have it yet: nothing is admitted while it does not. waited is true when the name was another's before.
type Task func(ctx context.Context, held func() bool, waited bool) (flow.State, string)

// Carry carries out the task while the name is owned, again and again when it moves between producers, and returns how it
// ended. movable is whether another producer could go on with it: one that is not is refused, with [ErrTaken] as its reason, when
// its name is taken. left is called when the name moves to another.
func (o *Owner) Carry(ctx context.Context, source string, movable bool, row *account.Row, task Task, left func()) (flow.State, string) {
	movable = movable && !o.never
	for waited := false; ; {
		lease, taken, err := o.acquire(ctx, source, movable, row)
		waited = waited || taken
		switch {
		case ctx.Err() != nil:
			return flow.StateStopped, ""
		case err != nil:
			o.log.Error("source failed", "source", source, "error", err)
			return flow.StateFailed, err.Error()
		}
		row.Owned()
		state, reason, moved := o.own(ctx, source, movable, lease, waited, task)
		switch {
		case moved == nil || state != flow.StateStopped || ctx.Err() != nil:
			return state, reason
		case !movable:
			return flow.StateFailed, moved.Error()
		}
		o.log.Info("standing by for a source", "source", source, "reason", moved)
		left()
		waited = true
	}
}

// acquire waits for the lease of a name, and for the producer's share to have room for it. taken is whether it had to.
func (o *Owner) acquire(ctx context.Context, source string, movable bool, row *account.Row) (lease *bus.Lease, taken bool, err error) {
	for began := time.Now(); ; {
		reason := "standing by: enough others are carried here"
		if !movable || o.reserve() {
			call, cancel := context.WithTimeout(ctx, callTimeout)
			lease, err = o.bus.Lease(call, LeaseName(source), o.holder)
			cancel()
			switch {
			case err == nil:
				if !movable {
					o.count(1)
				}
				return lease, taken, nil
			case movable:
				o.count(-1)
			}
			switch {
			case errors.Is(err, nats.ErrConnectionClosed):
				return nil, taken, err
			case !errors.Is(err, bus.ErrLeaseTaken):
				reason = "waiting for the lease of its name: " + err.Error()
			default:
				holder := o.holderOf(ctx, source)
				reason, taken = "standing by: "+cmp.Or(holder, "another")+" has it", true
				if !movable && time.Since(began) > endedAfter {
					return nil, taken, fmt.Errorf("%w: by %s", ErrTaken, cmp.Or(holder, "another"))
				}
			}
		} else {
			taken = true
		}
		row.StandBy(reason)
		if !clock.Sleep(ctx, tryEvery+rand.N(tryEvery)) {
			return nil, taken, context.Cause(ctx)
		}
	}
}

// own carries out the task with the lease. moved is why the name was given up, nil: it was not.
func (o *Owner) own(ctx context.Context, source string, movable bool, lease *bus.Lease, waited bool, task Task) (state flow.State, reason string, moved error) {
	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	keeping, stopKeeping := context.WithCancel(context.WithoutCancel(ctx)) // until the last frame is accounted for
	var current atomic.Pointer[bus.Lease]
	current.Store(lease)
	var tasks sync.WaitGroup
	var shed atomic.Bool
	tasks.Go(func() {
		if err := o.keep(keeping, source, &current); err != nil {
			stop(err)
		}
	})
	if movable {
		tasks.Go(func() {
			for clock.Sleep(running, shareEvery) {
				if o.tooMany() {
					shed.Store(true)
					stop(errShed)
					return
				}
			}
		})
	}
	state, reason = task(running, func() bool { return current.Load().Held() }, waited)
	moved = context.Cause(running)
	if ctx.Err() != nil || running.Err() == nil {
		moved = nil
	}
	stop(nil)
	stopKeeping()
	tasks.Wait()
	if !shed.Load() {
		o.count(-1) // else it was counted when it was given up
	}
	if last := current.Load(); last.Held() {
		call, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		if err := last.Release(call); err != nil {
			o.log.Debug("lease ends by itself", "source", source, "error", err)
		}
	}
	return state, reason, moved
}

// keep renews the lease until ctx ends. One that was lost, since NATS was away or this process slept, it takes again;
// [ErrTaken] is returned when another was quicker.
func (o *Owner) keep(ctx context.Context, source string, current *atomic.Pointer[bus.Lease]) error {
	for {
		err := current.Load().Keep(ctx)
		if err == nil {
			return nil
		}
		o.log.Warn("nothing is admitted until the lease is there again", "source", source, "error", err)
		for {
			call, cancel := context.WithTimeout(ctx, callTimeout)
			lease, err := o.bus.Lease(call, LeaseName(source), o.holder)
			cancel()
			if err == nil {
				current.Store(lease)
				break
			}
			if holder := o.holderOf(ctx, source); errors.Is(err, bus.ErrLeaseTaken) && holder != o.holder && holder != "" {
				return fmt.Errorf("%w: by %s", ErrTaken, holder)
			}
			if errors.Is(err, nats.ErrConnectionClosed) || !clock.Sleep(ctx, tryEvery+rand.N(tryEvery)) {
				return nil // the source says it better, or it ends
			}
		}
	}
}

// holderOf names who has the lease of a source's name; empty: it is not known.
func (o *Owner) holderOf(ctx context.Context, source string) string {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	holder, err := o.bus.LeaseHolder(call, LeaseName(source))
	if err != nil {
		return ""
	}
	return holder
}

// most is how many names fall to this producer, rounded up.
func (o *Owner) most() int {
	o.mu.Lock()
	list, names := o.list, o.names
	o.mu.Unlock()
	sharers := o.fleet.Sharers(list)
	return (names + sharers - 1) / sharers
}

// reserve counts one name more, unless the producer has its share.
func (o *Owner) reserve() bool {
	most := o.most()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.owned >= most {
		return false
	}
	o.owned++
	return true
}

// tooMany gives one name up when there are more than the share; it is true for one caller per name too many.
func (o *Owner) tooMany() bool {
	most := o.most()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.owned <= most {
		return false
	}
	o.owned--
	return true
}

func (o *Owner) count(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.owned += n
}
