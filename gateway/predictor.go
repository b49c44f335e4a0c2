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
	storeWithin = 2 * time.Second
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

// asked is what a picture is sent to.
type asked struct {
	deployment flow.Deployment
	plan       []string // groups in slot order
	required   []string // those of them that the caller's answer needs
}

// ready says what a picture is sent to now: each required group, which must have a worker, and the optional ones that have. What
// shadows find is shown to nobody.
func (p *predictor) ready() (asked, error) {
	d, _ := p.g.deployment()
	now := time.Now()
	on := d.Groups.On(now)
	slices.SortFunc(on, func(a, b flow.Group) int { return a.Slot - b.Slot })
	a := asked{deployment: d}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range on {
		alive := p.alive(g.Name, now)
		switch {
		case g.Required() && !alive:
			return a, refused(http.StatusServiceUnavailable, reasonNoWorker, "group %s has no worker", g.Name)
		case g.Required():
			a.required = append(a.required, g.Name)
		case g.Need == flow.NeedShadow || !alive:
			continue
		}
		a.plan = append(a.plan, g.Name)
	}
	if len(a.plan) == 0 {
		return a, refused(http.StatusServiceUnavailable, reasonNoWorker, "the pipeline is not there yet: no group is on")
	}
	return a, nil
}

// alive says whether a group has a worker, under p.mu.
func (p *predictor) alive(group string, now time.Time) bool {
	for instance, at := range p.heard[group] {
		if now.Sub(at) <= goneAfter {
			return true
		}
		delete(p.heard[group], instance)
	}
	return false
}

// ask publishes the picture as a live frame and waits for its scene, even when the caller has gone: its frame is under way all
// the same. ctx is the gateway's.
func (p *predictor) ask(ctx context.Context, a asked, picture sent) (*flow.Scene, error) {
	id, wait := p.begin()
	defer p.end(id.Seq)
	now := time.Now()
	frame := &flow.Frame{
		Source: id.Source, Session: id.Session, Seq: id.Seq, Mode: flow.ModeLive,
		Captured: clock.Stamp(now), Sent: clock.Stamp(now), Width: picture.width, Height: picture.height, Plan: a.plan,
		Budget: sceneWithin, Picture: picture.jpeg, Ledger: []flow.Hop{{Stage: stage}},
	}
	a.deployment.Stamp(frame, a.deployment.Begin(frame.Source))
	if err := p.store(ctx, a.deployment.Groups, frame); err != nil {
		return nil, err
	}
	timer := time.NewTimer(sceneWithin)
	defer timer.Stop()
	select {
	case scene := <-wait.scene:
		return p.judge(id.Seq, a.required, scene)
	case <-timer.C:
		return nil, p.unanswered(id.Seq, a.required)
	case <-ctx.Done():
		return nil, refused(http.StatusServiceUnavailable, reasonGone, "the gateway stops")
	}
}

// store tries for storeWithin. What NATS does not take is refused.
func (p *predictor) store(ctx context.Context, groups flow.Groups, frame *flow.Frame) error {
	ctx, cancel := context.WithTimeout(ctx, storeWithin)
	defer cancel()
	err := bus.Store(ctx, bus.Policy{}, func(ctx context.Context) error { return p.g.env.Bus.PublishFrame(ctx, groups, frame) })
	if err == nil || errors.Is(err, bus.ErrStored) {
		return nil
	}
	return refused(http.StatusServiceUnavailable, reasonFull, "%v", err)
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

// judge returns the scene when it has what was asked for: an answer of each required group.
func (p *predictor) judge(seq uint64, required []string, scene *flow.Scene) (*flow.Scene, error) {
	needed := func(group string) bool { return slices.Contains(required, group) }
	if scene == nil || slices.ContainsFunc(scene.Missing, needed) {
		return nil, p.unanswered(seq, required)
	}
	var reasons []string
	for group, reason := range scene.Errors {
		if needed(group) {
			reasons = append(reasons, group+": "+reason)
		}
	}
	if len(reasons) > 0 {
		slices.Sort(reasons)
		return nil, refused(http.StatusBadRequest, reasonMalformed, "the picture can't be looked at: %s", strings.Join(reasons, "; "))
	}
	return scene, nil
}

// unanswered names the groups that did not answer in time.
func (p *predictor) unanswered(seq uint64, required []string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.waiting[seq]
	missing := slices.DeleteFunc(slices.Clone(required), func(group string) bool { return w.answered[group] })
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
	d, _ := p.g.deployment()
	if _, ours := d.Groups.Find(alive.Stage); !ours {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.heard[alive.Stage] == nil {
		p.heard[alive.Stage] = map[string]time.Time{}
	}
	if len(p.heard[alive.Stage]) < maxWorkers {
		p.heard[alive.Stage][alive.Instance] = time.Now()
	}
}

// maxWorkers bounds the workers of a group that are told apart.
const maxWorkers = 1024
