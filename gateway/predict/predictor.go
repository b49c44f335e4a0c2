package predict

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/semaphore"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/flow/picture"
)

const (
	stage = "gateway"

	turnWithin  = 2 * time.Second
	sceneWithin = 10 * time.Second
	storeWithin = 2 * time.Second

	// workerGoneAfter is how long a worker is silent before it counts as gone.
	workerGoneAfter = 3 * time.Second
)

// Grace is the most that a picture takes that is there: it is converted, waits for its turn and for its scene.
const Grace = turnWithin + sceneWithin + 3*time.Second

// Config is the settings of posted pictures.
type Config struct {
	Inflight  int `name:"predict-inflight" default:"4" help:"Pictures of POST /predict that may be in the pipeline at once."`
	Queue     int `name:"predict-queue" default:"64" help:"Callers of POST /predict that may wait for their turn, for 2 s at most; more are answered 503."`
	MaxPixels int `default:"25000000" help:"Pixels that a posted picture has at most when it is no JPEG; JPEGs go to the workers as they are, which decode large ones smaller."`
}

// Predictor carries posted pictures through the pipeline, as a live source of its own.
type Predictor struct {
	bus        *bus.Bus
	deployment func() (flow.Deployment, bool)
	source     string
	session    string
	turns      chan struct{}       // holds a token per picture under way
	queue      chan struct{}       // holds a token per caller that waits or is served
	memory     *semaphore.Weighted // of bodies
	maps       *semaphore.Weighted // of depth maps at the size of their pictures
	converting converting
	maxPixels  int

	mu      sync.Mutex
	seq     uint64
	waiting map[uint64]*waiter
	heard   map[string]map[string]time.Time // by group and instance
}

// waiter is one picture under way.
type waiter struct {
	began    time.Time
	scene    chan *flow.Scene // holds at most one
	answered map[string]bool  // groups that are done
	dropped  string           // why there will be no scene
}

// New makes a predictor that has heard of no worker yet. deployment is what everybody agrees on now.
func New(cfg Config, b *bus.Bus, deployment func() (d flow.Deployment, ok bool)) *Predictor {
	return &Predictor{
		bus: b, deployment: deployment, source: flow.PredictPrefix + strings.ToLower(rand.Text()[:10]), session: ulid.Make().String(),
		turns: make(chan struct{}, cfg.Inflight), queue: make(chan struct{}, cfg.Queue+cfg.Inflight),
		memory: semaphore.NewWeighted(bodyMemory), maps: semaphore.NewWeighted(mapMemory), converting: newConverting(), maxPixels: cfg.MaxPixels,
		waiting: map[uint64]*waiter{}, heard: map[string]map[string]time.Time{},
	}
}

// Found is what the pipeline says of a posted picture. Its size in pixels is that of the picture as people see it; boxes of the
// scene are in pixels of the scene's size.
type Found struct {
	Scene         *flow.Scene
	Width, Height int
}

// Carry takes a picture out of a request with read and carries it through the pipeline, within ctx, also when the caller has gone
// meanwhile. All of groups have to answer; without any, those that the deployment requires. A [Refusal] is returned for what is
// refused.
func (p *Predictor) Carry(ctx context.Context, w http.ResponseWriter, r *http.Request, groups []string, read Reader) (*Found, error) {
	asked, err := p.ready(groups)
	if err != nil {
		return nil, err
	}
	if len(p.queue) == cap(p.queue) {
		return nil, p.full() // before the picture is sent for nothing
	}
	b := newBody(w, r, p.memory)
	defer b.release()
	data, err := read(b)
	if err != nil {
		return nil, err
	}
	// Only who has sent its picture has a place.
	select {
	case p.queue <- struct{}{}:
		defer func() { <-p.queue }()
	default:
		return nil, p.full()
	}
	posted, err := p.convert(r.Context(), data)
	if err != nil {
		return nil, err
	}
	turn, cancel := context.WithTimeout(r.Context(), turnWithin)
	defer cancel()
	select {
	case p.turns <- struct{}{}:
		defer func() { <-p.turns }()
	case <-turn.Done():
		return nil, refused(http.StatusServiceUnavailable, reasonFull, "no turn within %v: %d pictures are under way", turnWithin, cap(p.turns))
	}
	scene, err := p.ask(ctx, asked, posted)
	if err != nil {
		return nil, err
	}
	return &Found{scene, posted.width, posted.height}, nil
}

func (p *Predictor) full() error {
	return refused(http.StatusServiceUnavailable, reasonFull, "%d callers wait already", cap(p.queue)-cap(p.turns))
}

// convert makes a body fit for the workers.
func (p *Predictor) convert(ctx context.Context, body []byte) (sent, error) {
	ctx, cancel := context.WithTimeout(ctx, sceneWithin)
	defer cancel()
	posted, err := p.converting.prepare(ctx, body, p.bus.MaxMessage()-bus.FrameRoom, p.maxPixels)
	switch {
	case errors.Is(err, picture.ErrLarge):
		return sent{}, refused(http.StatusUnprocessableEntity, reasonPicture, "%v", err)
	case errors.Is(err, picture.ErrBroken), errors.Is(err, picture.ErrKind):
		return sent{}, refused(http.StatusBadRequest, reasonMalformed, "%v", err)
	}
	return posted, err
}

// Source is the name of the source that posted pictures are frames of.
func (p *Predictor) Source() string { return p.source }

// asked is what a picture is sent to.
type asked struct {
	deployment flow.Deployment
	plan       []string // groups in slot order
	required   []string // those of them that the caller's answer needs
}

// ready says what a picture is sent to now: each required group, which must have a worker, and the optional ones that have; or
// just the groups that are named. What shadows find is shown to nobody.
func (p *Predictor) ready(named []string) (asked, error) {
	d, _ := p.deployment()
	now := time.Now()
	on := slices.DeleteFunc(d.Groups.On(now), func(g flow.Group) bool { return g.Need == flow.NeedShadow })
	slices.SortFunc(on, func(a, b flow.Group) int { return a.Slot - b.Slot })
	for _, name := range named {
		if !slices.ContainsFunc(on, func(g flow.Group) bool { return g.Name == name }) {
			names := make([]string, len(on))
			for i, g := range on {
				names[i] = g.Name
			}
			return asked{}, refused(http.StatusBadRequest, reasonMalformed, "there is no group %.40q, but: %s", name, strings.Join(names, ", "))
		}
	}
	a := asked{deployment: d}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range on {
		alive, needed := p.alive(g.Name, now), g.Required()
		if len(named) > 0 {
			if needed = slices.Contains(named, g.Name); !needed {
				continue
			}
		}
		switch {
		case needed && !alive:
			return a, refused(http.StatusServiceUnavailable, reasonNoWorker, "group %s has no worker", g.Name)
		case needed:
			a.required = append(a.required, g.Name)
		case !alive:
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
func (p *Predictor) alive(group string, now time.Time) bool {
	for instance, at := range p.heard[group] {
		if now.Sub(at) <= workerGoneAfter {
			return true
		}
		delete(p.heard[group], instance)
	}
	return false
}

// ask publishes the picture as a live frame and waits for its scene, even when the caller has gone: its frame is under way all
// the same. ctx is the gateway's.
func (p *Predictor) ask(ctx context.Context, a asked, posted sent) (*flow.Scene, error) {
	id, wait := p.begin()
	defer p.end(id.Seq)
	now := time.Now()
	frame := &flow.Frame{
		Source: id.Source, Session: id.Session, Seq: id.Seq, Mode: flow.ModeLive,
		Captured: clock.Stamp(now), Sent: clock.Stamp(now), Width: posted.width, Height: posted.height, Plan: a.plan,
		Budget: sceneWithin, Picture: posted.jpeg, Ledger: []flow.Hop{{Stage: stage}},
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
		return nil, refused(http.StatusServiceUnavailable, reasonStopping, "the gateway stops")
	}
}

// store tries for storeWithin. What NATS does not take is refused.
func (p *Predictor) store(ctx context.Context, groups flow.Groups, frame *flow.Frame) error {
	ctx, cancel := context.WithTimeout(ctx, storeWithin)
	defer cancel()
	err := bus.Store(ctx, bus.Policy{}, func(ctx context.Context) error { return p.bus.PublishFrame(ctx, groups, frame) })
	if err == nil || errors.Is(err, bus.ErrStored) {
		return nil
	}
	return refused(http.StatusServiceUnavailable, reasonFull, "%v", err)
}

func (p *Predictor) begin() (flow.FrameID, *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seq++
	w := &waiter{began: time.Now(), scene: make(chan *flow.Scene, 1), answered: map[string]bool{}}
	p.waiting[p.seq] = w
	return flow.FrameID{Source: p.source, Session: p.session, Seq: p.seq}, w
}

func (p *Predictor) end(seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, seq)
}

// judge returns the scene when it has what was asked for: an answer of each required group.
func (p *Predictor) judge(seq uint64, required []string, scene *flow.Scene) (*flow.Scene, error) {
	needed := func(group string) bool { return slices.Contains(required, group) }
	if scene == nil || slices.ContainsFunc(scene.Missing, needed) {
		return nil, p.unanswered(seq, required)
	}
	var faults, lost []string
	for group, reason := range scene.Errors {
		switch {
		case !needed(group):
		case scene.Failures[group].Class == flow.ClassLost:
			lost = append(lost, fmt.Sprintf("%s: %s", group, reason))
		default: // older workers do not tell
			faults = append(faults, fmt.Sprintf("%s: %s", group, reason))
		}
	}
	slices.Sort(faults)
	slices.Sort(lost)
	switch {
	case len(lost) > 0:
		return nil, refused(http.StatusBadGateway, reasonLost, "the picture was given up: %s", strings.Join(lost, "; "))
	case len(faults) > 0:
		return nil, refused(http.StatusUnprocessableEntity, reasonPicture, "the picture can't be looked at: %s", strings.Join(faults, "; "))
	}
	return scene, nil
}

// unanswered names the groups that did not answer in time.
func (p *Predictor) unanswered(seq uint64, required []string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.waiting[seq]
	missing := slices.DeleteFunc(slices.Clone(required), func(group string) bool { return w.answered[group] })
	waited := time.Since(w.began).Round(100 * time.Millisecond) // the fuser does not wait for as long as is waited for it
	switch {
	case w.dropped != "":
		return refused(http.StatusGatewayTimeout, reasonMissing, "the picture was dropped: %s", w.dropped)
	case len(missing) == 0:
		return refused(http.StatusGatewayTimeout, reasonMissing, "the fuser has not answered within %v", waited)
	}
	return refused(http.StatusGatewayTimeout, reasonMissing, "no answer of %s within %v", strings.Join(missing, ", "), waited)
}

// Subscribe hears which groups have answered, until its subscription ends.
func (p *Predictor) Subscribe() (*nats.Subscription, error) {
	return p.bus.SubscribeDone("*", p.source, p.addDone)
}

// AddScene hands a scene to whoever waits for it. It returns at once.
func (p *Predictor) AddScene(scene *flow.Scene) {
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
func (p *Predictor) addDone(by string, done flow.Done) {
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

// AddAlive notes that a worker lives.
func (p *Predictor) AddAlive(alive flow.Alive) {
	d, _ := p.deployment()
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
