package fuser

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/flow/service"
)

// liveStore is how long a live scene is tried to be stored: after that nobody wants to see it.
const liveStore = 2 * time.Second

// livePartition joins the live sources of a partition. It belongs to the partition's goroutine.
type livePartition struct {
	env      service.Env
	metrics  metrics
	heldMax  time.Duration
	joiner   *Live[jetstream.Msg]
	delays   map[string]*clock.Delays // by group: each has a stream of its own
	unpacker depthmap.Unpacker
	sources  map[string]*liveDepth
	limit    int // of sources
	scenes   *rate
}

// liveDepth is the newest depth map of a source, and its stable range.
type liveDepth struct {
	session  string
	stable   *depthmap.Range
	seq      uint64
	captured int64         // UTC, nanoseconds
	shape    *depthmap.Map // without its data; nil: no map yet
	samples  []uint16
	heard    time.Time
}

func newLivePartition(cfg Config, env service.Env, m metrics, scenes *rate) *livePartition {
	return &livePartition{
		env: env, metrics: m, heldMax: cfg.HeldMax, scenes: scenes, sources: map[string]*liveDepth{}, limit: cfg.Sessions,
		delays: map[string]*clock.Delays{},
		joiner: NewLive[jetstream.Msg](LiveLimits{Sources: cfg.Sessions, Bytes: cfg.MaxBytes}),
	}
}

// add takes a result. One that is late is acked and counted, and its depth map may still be the newest.
func (p *livePartition) add(ctx context.Context, t taken) {
	stale := t.again || p.waited(t) > t.result.Budget
	if p.joiner.Add(t.result, len(t.msg.Data()), stale, t.msg, time.Now()) {
		return
	}
	_ = t.msg.Ack() // unheard it comes again, and is late again
	p.metrics.late.WithLabelValues(t.result.Group).Inc()
	if t.result.Depth == nil {
		return
	}
	d := p.depth(ctx, t.result.Source, t.result.Session)
	if d.shape != nil && t.result.Seq <= d.seq {
		return
	}
	samples, err := p.unpacker.Unpack(t.result.Depth)
	if err != nil {
		p.metrics.refused.WithLabelValues("results", "malformed").Inc()
		return
	}
	d.stable = follow(d.stable, t.result.Depth, samples)
	d.keep(t.result.Seq, t.result.Captured, t.result.Depth, samples)
}

// waited is how much longer than the quickest of late a result waited for this fuser, be it that there was none.
func (p *livePartition) waited(t taken) time.Duration {
	d := p.delays[t.result.Group]
	if d == nil {
		d = new(clock.Delays)
		p.delays[t.result.Group] = d
	}
	return d.Of(clock.Delivery{Connection: p.env.Bus.Reconnects(), Seq: t.sequence, Stored: t.stored, Received: time.Now()})
}

// giveOut stores the scenes that are due, and returns when the next one is; zero: not before another result comes.
func (p *livePartition) giveOut(ctx context.Context) time.Time {
	for {
		joined, wake, ok := p.joiner.Next(time.Now())
		if !ok || ctx.Err() != nil {
			return wake
		}
		if joined.Pushed {
			p.metrics.pushed.Inc()
		}
		done := p.end(ctx, joined.Results)
		for _, msg := range joined.Handles {
			_ = msg.Ack() // unheard it comes again, and is late
		}
		if err := p.env.Bus.PublishDone(stage, joined.Results[0].Source, done); err != nil {
			p.env.Log.Debug("done not sent", "error", err) // the producer's account lets the frame expire
		}
	}
}

// end stores the frame's scene and says how it ended. A frame that every group dropped has no scene.
func (p *livePartition) end(ctx context.Context, results []*flow.Result) flow.Done {
	begin, first := time.Now(), results[0]
	done := flow.Done{Version: flow.DoneVersion, Session: first.Session, Seq: first.Seq, Outcome: flow.OutcomeDropped}
	answered := slices.DeleteFunc(slices.Clone(results), func(r *flow.Result) bool { return r.Dropped != "" })
	if len(answered) == 0 {
		done.Reason = first.Dropped
		return done
	}
	d := p.depth(ctx, first.Source, first.Session)
	scene, samples := fuse(answered, d.stable, &p.unpacker, begin)
	if scene.Depth != nil {
		d.stable = scene.Range
		if d.shape == nil || scene.Seq > d.seq {
			d.keep(scene.Seq, scene.Captured, scene.Depth, samples)
		}
	} else {
		d.lend(scene, p.heldMax)
	}
	joined := time.Now()
	hop := &scene.Ledger[len(scene.Ledger)-1]
	hop.Work = joined.Sub(begin)
	p.metrics.seconds.WithLabelValues("join").Observe(hop.Work.Seconds())
	done.Wait, done.Work = hop.Wait, hop.Work
	if err := p.store(ctx, scene); err != nil {
		p.env.Log.Warn("live scene not stored", "frame", scene.ID().String(), "error", err)
		done.Reason = "store"
		return done
	}
	p.metrics.seconds.WithLabelValues("publish").Observe(time.Since(joined).Seconds())
	p.scenes.n.Add(1)
	done.Outcome = scene.Outcome
	return done
}

func (p *livePartition) store(ctx context.Context, scene *flow.Scene) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), liveStore) // a stop lets the one in hand end
	defer cancel()
	for wait := retryWait; ; wait = min(2*wait, retryMax) {
		err := p.env.Bus.PublishScene(ctx, scene)
		if errors.Is(err, bus.ErrTooLarge) && (scene.Depth != nil || len(scene.Detections) > 0) {
			scene.Outcome, scene.Errors = flow.OutcomeError, map[string]string{stage: err.Error()}
			if scene.Depth == nil {
				scene.Detections = []flow.Detection{}
			}
			scene.Depth = nil
			continue
		}
		if err == nil || !clock.Sleep(ctx, wait) {
			return err
		}
	}
}

// depth finds or makes what is known of a source's depth. A new session begins with nothing but, when the fuser has just
// started, the range of the source's newest stored scene. Beyond the limit the source silent longest is forgotten.
func (p *livePartition) depth(ctx context.Context, source, session string) *liveDepth {
	d := p.sources[source]
	if d == nil {
		d = &liveDepth{session: session}
		if last, err := p.env.Bus.LastLiveScene(ctx, source); err == nil && last.Session == session {
			d.stable = last.Range
		}
		if len(p.sources) >= p.limit {
			p.forget()
		}
		p.sources[source] = d
	}
	if d.session != session {
		*d = liveDepth{session: session}
	}
	d.heard = time.Now()
	return d
}

// tidy frees the maps that are too old to be lent.
func (p *livePartition) tidy(now time.Time) {
	for _, d := range p.sources {
		if now.Sub(d.heard) > p.heldMax+holdEvery {
			d.shape, d.samples = nil, nil
		}
	}
}

func (p *livePartition) forget() {
	oldest := ""
	for name, d := range p.sources {
		if oldest == "" || d.heard.Before(p.sources[oldest].heard) {
			oldest = name
		}
	}
	delete(p.sources, oldest)
}

// keep makes a map the newest; samples are copied.
func (d *liveDepth) keep(seq uint64, captured int64, m *depthmap.Map, samples []uint16) {
	shape := *m
	shape.Data = nil
	d.seq, d.captured, d.shape, d.samples = seq, captured, &shape, append(d.samples[:0], samples...)
}

// lend gives a scene without a depth map the nearness of its boxes in the newest one, if that is no older than most.
func (d *liveDepth) lend(scene *flow.Scene, most time.Duration) {
	age := time.Duration(scene.Captured - d.captured)
	if d.shape == nil || d.stable == nil || age < 0 || age > most {
		return
	}
	scene.Held = &flow.Held{Seq: d.seq, Age: age}
	measure(scene, d.shape, d.samples)
}
