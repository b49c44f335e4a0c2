package producer

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/producer/account"
	"github.com/spatial-flow/spatial-flow/producer/live"
	"github.com/spatial-flow/spatial-flow/producer/lossless"
	"github.com/spatial-flow/spatial-flow/producer/source"
)

// carrier carries sources, each on its own. Those that it carries are changed by one goroutine.
type carrier struct {
	*program
	admission *live.Admission
	shared    lossless.Shared
	tasks     sync.WaitGroup
	carried   []*carried
	told      map[string]bool // why lines are passed over

	mu   sync.Mutex
	mine map[string]bool // names of what is carried, but for what is configured at run time
}

// carried is a source, until its line is gone.
type carried struct {
	spec source.Spec
	line line
	row  *account.Row
	stop context.CancelFunc
	done chan struct{}
	end  flow.State // once done is closed
}

// carry carries every source to its end, and tells how each ended. Those of --source-file come and go with its lines until ctx ends.
func (p *program) carry(ctx context.Context, deployed *bus.Deployed, admission *live.Admission) []flow.State {
	c := &carrier{program: p, admission: admission, shared: lossless.Shared{
		Env: p.env, Deployed: deployed, Fleet: p.fleet, Metrics: p.metrics, Memory: lossless.NewMemory(int(p.cfg.WindowMemory)),
	}}
	for i, spec := range p.first.specs {
		c.start(ctx, spec, p.first.lines[i], p.rows[i])
	}
	first := slices.Clone(c.carried)
	if !p.cfg.ExitWhenDone {
		c.follow(ctx)
	}
	c.tasks.Wait()
	states := make([]flow.State, len(first))
	for i, s := range first {
		states[i] = s.end
	}
	return states
}

// start carries one source more.
func (c *carrier) start(ctx context.Context, spec source.Spec, l line, row *account.Row) {
	ctx, stop := context.WithCancel(ctx)
	s := &carried{spec: spec, line: l, row: row, stop: stop, done: make(chan struct{})}
	c.carried = append(c.carried, s)
	c.tasks.Go(func() {
		defer close(s.done)
		defer stop()
		state, reason := flow.StateStopped, ""
		if l.lacks != "" {
			c.lack(ctx, spec.Name, l.lacks, row)
		} else {
			state, reason = c.carryOne(ctx, spec, row)
		}
		row.Ended(state, reason)
		s.end = state
	})
}

// change stops the sources whose line is gone, and starts those whose line is new.
func (c *carrier) change(ctx context.Context, w wanted) {
	there := map[line]bool{}
	for _, line := range w.file.lines {
		there[line] = true
	}
	at := c.configured(w)
	for line := range at.specs {
		there[line] = true
	}
	var kept, gone []*carried
	known, names, leaving := taken{}, []string{}, map[string]bool{}
	for _, s := range c.carried {
		if s.line != (line{}) && !there[s.line] { // those of --source stay
			s.stop()
			gone, leaving[s.spec.Name] = append(gone, s), true
			continue
		}
		delete(there, s.line)
		kept, known.specs, known.lines = append(kept, s), append(known.specs, s.spec), append(known.lines, s.line)
	}
	var added listed
	for i, line := range w.file.lines {
		if there[line] {
			added.lines, added.numbers = append(added.lines, line), append(added.numbers, w.file.numbers[i])
		}
	}
	after := at.beside(c.cfg.beside(added, known), there, c.cfg.MaxSources)
	told := map[string]bool{}
	for _, err := range after.refused {
		if told[err.Error()] = true; !c.told[err.Error()] {
			c.env.Log.Error("source passed over", "error", err)
		}
	}
	c.told, c.carried = told, kept
	mine := map[string]bool{}
	for i, s := range after.specs {
		mine[s.Name] = mine[s.Name] || after.lines[i].place != configuredPlace
		if after.lines[i].lacks == "" {
			names = append(names, s.Name)
		}
	}
	c.setMine(mine)
	after.specs, after.lines = after.specs[len(kept):], after.lines[len(kept):]
	during := slices.Clone(names)
	for name := range leaving {
		during = append(during, name)
	}
	c.owner.SetNames(during) // what leaves is owned until it is gone: without it, another would seem to be one too many
	add := func(late bool) {
		for i, s := range after.specs {
			if leaving[s.Name] == late {
				c.add(ctx, s, after.lines[i])
			}
		}
	}
	add(false)
	for _, s := range gone {
		<-s.done
		c.board.Remove(s.row)
		c.metrics.Forget(s.spec.Name)
		c.env.Log.Info("source removed", "source", s.spec.Name)
	}
	c.owner.SetNames(names)
	add(true) // a name is one source's at a time
}

// add starts a source that nobody named beforehand.
func (c *carrier) add(ctx context.Context, s source.Spec, l line) {
	row := c.board.AddLater(s.Status(), c.cfg.Run)
	if row == nil {
		c.env.Log.Error("source passed over: pictures are ingested under its name", "source", s.Name)
		return
	}
	c.env.Log.Info("source added", "source", s.Name, "uri", s.URI)
	c.start(ctx, s, l, row)
}

// carryOne carries a source to its end, while its name is this producer's.
func (c *carrier) carryOne(ctx context.Context, spec source.Spec, row *account.Row) (flow.State, string) {
	if isLossless(spec) && !takesLossless(c.shared.Deployed.Groups()) {
		c.env.Log.Error("source failed", "source", spec.Name, "error", ErrNoGroups)
		return flow.StateFailed, ErrNoGroups.Error()
	}
	sharers := "live-" + c.owner.List() // those who are given the same sources, each of which plays a live one with a session of its own
	before, asked := c.played(ctx, spec.Name, sharers)
	return c.owner.Carry(ctx, spec.Name, c.movable(spec), row, func(ctx context.Context, held func() bool, waited bool) (flow.State, string) {
		if isLossless(spec) {
			return lossless.Run(ctx, spec, row, c.cfg.lossless(), c.shared, held)
		}
		if waited && asked {
			if now, known := c.played(ctx, spec.Name, sharers); known && now != before {
				return flow.StateComplete, ""
			}
		}
		state, reason := live.New(spec, row, c.live, c.env, c.admission, c.metrics, held).Run(ctx)
		if state == flow.StateComplete {
			c.notePlayed(ctx, spec.Name, sharers, row)
		}
		return state, reason
	}, func() { c.left(spec.Name, row) })
}

// callTimeout is for one question to NATS.
const callTimeout = 2 * time.Second

// played is the revision of the note that a live source of these producers has ended; 0: there is none. known is false when NATS
// does not say. One that has changed since a producer began is of the play that it stood by for.
func (p *program) played(ctx context.Context, source, sharers string) (revision uint64, known bool) {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	end, err := p.env.Bus.Ended(call, source, sharers)
	return end.Revision, err == nil || errors.Is(err, bus.ErrNotFound)
}

// notePlayed notes that a live source has ended, so that nobody who stands by for it plays it again.
func (p *program) notePlayed(ctx context.Context, source, sharers string, row *account.Row) {
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	if err := p.env.Bus.SetEnded(call, source, sharers, row.Account.Snapshot().Captured); err != nil {
		p.env.Log.Warn("the end of a live source is not noted: who stands by for it plays it again", "source", source, "error", err)
	}
}

// left drops from the account what is under way of a source that another producer carries on.
func (p *program) left(source string, row *account.Row) {
	metrics := p.metrics.Of(source)
	for range row.Account.Leave(time.Now()) {
		metrics.Drop(account.LeftToOther)
	}
}

// movable says whether another producer can go on with a source: with a lossless one only when its run has a name.
func (p *program) movable(s source.Spec) bool { return !isLossless(s) || p.cfg.Run != "" }
