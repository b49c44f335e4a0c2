package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/semaphore"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
)

const (
	turnWithin  = 2 * time.Second
	sceneWithin = 10 * time.Second
)

// predictor carries posted pictures through the pipeline, as a live source of its own.
type predictor struct {
	g          *gateway
	source     string
	session    string
	turns      chan struct{}       // holds a token per picture under way
	queue      chan struct{}       // holds a token per caller that waits or is served
	memory     *semaphore.Weighted // of bodies
	maps       *semaphore.Weighted // of depth maps at the size of their pictures
	converting converting

	mu      sync.Mutex
	seq     uint64
	waiting map[uint64]*waiter
	heard   map[string]map[string]time.Time // by group and instance
	groups  flow.Groups
}

// waiter is one picture under way.
type waiter struct {
	scene    chan *flow.Scene // holds at most one
	answered map[string]bool  // groups that are done
	dropped  string           // why there will be no scene
}

func newPredictor(g *gateway) *predictor {
	return &predictor{
		g: g, source: flow.PredictPrefix + strings.ToLower(rand.Text()[:10]), session: ulid.Make().String(),
		turns: make(chan struct{}, g.cfg.PredictInflight), queue: make(chan struct{}, g.cfg.PredictQueue+g.cfg.PredictInflight),
		memory: semaphore.NewWeighted(bodyMemory), maps: semaphore.NewWeighted(mapMemory), converting: make(converting, 1),
		waiting: map[uint64]*waiter{}, heard: map[string]map[string]time.Time{},
	}
}

// ready returns the groups, each of which has a worker.
func (p *predictor) ready() (flow.Groups, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.groups.On(time.Now())) == 0 {
		return nil, refused(http.StatusServiceUnavailable, reasonNoWorker, "the pipeline is not there yet: no groups entry")
	}
	for _, g := range p.groups.On(time.Now()) {
		alive := 0
		for instance, at := range p.heard[g.Name] {
			if time.Since(at) > goneAfter {
				delete(p.heard[g.Name], instance)
				continue
			}
			alive++
		}
		if alive == 0 {
			return nil, refused(http.StatusServiceUnavailable, reasonNoWorker, "group %s has no worker", g.Name)
		}
	}
	return p.groups, nil
}

// ask publishes the picture as a live frame for all groups and waits for its scene, even when the caller has gone: its
// frame is under way all the same. ctx is the gateway's.
func (p *predictor) ask(ctx context.Context, groups flow.Groups, picture sent) (*flow.Scene, error) {
	plan := make([]string, 0, len(groups))
	on := groups.On(time.Now())
	slices.SortFunc(on, func(a, b flow.Group) int { return a.Slot - b.Slot })
	for _, g := range on {
		plan = append(plan, g.Name)
	}
	id, wait := p.begin()
	defer p.end(id.Seq)
	now := time.Now()
	frame := &flow.Frame{
		Version: 1, Source: id.Source, Session: id.Session, Seq: id.Seq, Mode: flow.ModeLive,
		Captured: clock.Stamp(now), Sent: clock.Stamp(now), Width: picture.width, Height: picture.height, Plan: plan,
		Budget: sceneWithin, Picture: picture.jpeg, Ledger: []flow.Hop{{Stage: stage}},
	}
	if err := p.g.env.Bus.PublishFrame(ctx, groups, frame); err != nil {
		if errors.Is(err, bus.ErrFull) || errors.Is(err, bus.ErrNotProvisioned) {
			return nil, refused(http.StatusServiceUnavailable, reasonFull, "%v", err)
		}
		return nil, err
	}
	timer := time.NewTimer(sceneWithin)
	defer timer.Stop()
	select {
	case scene := <-wait.scene:
		return p.judge(id.Seq, plan, scene)
	case <-timer.C:
		return nil, p.unanswered(id.Seq, plan)
	case <-ctx.Done():
		return nil, refused(http.StatusServiceUnavailable, reasonGone, "the gateway stops")
	}
}

func (p *predictor) begin() (flow.FrameID, *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seq++
	w := &waiter{scene: make(chan *flow.Scene, 1), answered: map[string]bool{}}
	p.waiting[p.seq] = w
	return flow.FrameID{Source: p.source, Session: p.session, Seq: p.seq}, w
}

func (p *predictor) end(seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, seq)
}

// judge returns the scene when it has what was asked for.
func (p *predictor) judge(seq uint64, plan []string, scene *flow.Scene) (*flow.Scene, error) {
	switch {
	case scene == nil || len(scene.Missing) > 0:
		return nil, p.unanswered(seq, plan)
	case scene.Outcome == flow.OutcomeError:
		var reasons []string
		for group, reason := range scene.Errors {
			reasons = append(reasons, group+": "+reason)
		}
		slices.Sort(reasons)
		return nil, refused(http.StatusBadRequest, reasonMalformed, "the picture can't be looked at: %s", strings.Join(reasons, "; "))
	}
	return scene, nil
}

// unanswered names the groups that did not answer in time.
func (p *predictor) unanswered(seq uint64, plan []string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.waiting[seq]
	missing := slices.DeleteFunc(slices.Clone(plan), func(group string) bool { return w.answered[group] })
	switch {
	case w.dropped != "":
		return refused(http.StatusGatewayTimeout, reasonTimeout, "the picture was dropped: %s", w.dropped)
	case len(missing) == 0:
		return refused(http.StatusGatewayTimeout, reasonTimeout, "the fuser has not answered within %v", sceneWithin)
	}
	return refused(http.StatusGatewayTimeout, reasonTimeout, "no answer of %s within %v", strings.Join(missing, ", "), sceneWithin)
}

// addScene hands a scene to whoever waits for it. It returns at once.
func (p *predictor) addScene(scene *flow.Scene) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w := p.waiting[scene.Seq]; w != nil && scene.Source == p.source && scene.Session == p.session {
		select {
		case w.scene <- scene:
		default: // it came twice
		}
	}
}

// addDone notes which groups have answered, and that a frame was dropped.
func (p *predictor) addDone(by string, done flow.Done) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.waiting[done.Seq]
	if w == nil || done.Session != p.session {
		return
	}
	if done.Outcome != flow.OutcomeDropped {
		w.answered[by] = true
	} else if by == "fuser" {
		w.dropped = done.Reason
		select {
		case w.scene <- nil:
		default: // it has a scene
		}
	}
}

// addAlive notes that a worker lives.
func (p *predictor) addAlive(alive flow.Alive) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.ContainsFunc(p.groups, func(g flow.Group) bool { return g.Name == alive.Stage }) {
		return
	}
	if p.heard[alive.Stage] == nil {
		p.heard[alive.Stage] = map[string]time.Time{}
	}
	if len(p.heard[alive.Stage]) < maxWorkers {
		p.heard[alive.Stage][alive.Instance] = time.Now()
	}
}

// maxWorkers bounds the workers of a group that are told apart.
const maxWorkers = 1024

func (p *predictor) setGroups(groups flow.Groups) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.groups = groups
}
