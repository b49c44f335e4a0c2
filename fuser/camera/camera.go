// Package camera joins the results of the live sources of a partition, and stores their scenes.
package camera

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
	"github.com/spatial-flow/spatial-flow/fuser/delivery"
	"github.com/spatial-flow/spatial-flow/fuser/join"
	"github.com/spatial-flow/spatial-flow/fuser/metrics"
)

// liveStore is how long a live scene is tried to be stored: after that nobody wants to see it.
const liveStore = 2 * time.Second

const (
	holdEvery = time.Second // how often Tidy is called
	retryWait = 20 * time.Millisecond
	retryMax  = 200 * time.Millisecond
)

// Cameras are the live sources of a partition. They belong to the partition's goroutine.
type Cameras struct {
	env      service.Env
	metrics  metrics.Metrics
	heldMax  time.Duration
	joiner   *join.Live[jetstream.Msg]
	delays   map[string]*clock.Delays // by group: each has a stream of its own
	unpacker depthmap.Unpacker
	sources  map[string]*liveDepth
	limit    int // of sources
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

// New makes the cameras of one partition: at most so many sources, and so many bytes of results that wait. heldMax is the
// age of the oldest map that is lent.
func New(env service.Env, m metrics.Metrics, sources int, bytes int64, heldMax time.Duration) *Cameras {
	return &Cameras{
		env: env, metrics: m, heldMax: heldMax, sources: map[string]*liveDepth{}, limit: sources,
		delays: map[string]*clock.Delays{},
		joiner: join.NewLive[jetstream.Msg](join.LiveLimits{Sources: sources, Bytes: bytes}),
	}
}

// Add takes a result. One that is late is acked and counted, and its depth map may still be the newest.
func (c *Cameras) Add(ctx context.Context, t delivery.Delivery) {
	stale := t.Again || c.waited(t) > t.Result.Budget
	if c.joiner.Add(t.Result, len(t.Msg.Data()), stale, t.Msg, time.Now()) {
		return
	}
	_ = t.Msg.Ack() // unheard it comes again, and is late again
	c.metrics.Late.WithLabelValues(t.Result.Group).Inc()
	if t.Result.Depth == nil {
		return
	}
	d := c.depth(ctx, t.Result.Source, t.Result.Session)
	if d.shape != nil && t.Result.Seq <= d.seq {
		return
	}
	samples, err := c.unpacker.Unpack(t.Result.Depth)
	if err != nil {
		c.metrics.Refused.WithLabelValues("results", "malformed").Inc()
		return
	}
	d.stable = join.MoveRange(d.stable, t.Result.Depth, samples)
	d.keep(t.Result.Seq, t.Result.Captured, t.Result.Depth, samples)
}

// waited is how much longer than the quickest of late a result waited for this fuser, be it that there was none.
func (c *Cameras) waited(t delivery.Delivery) time.Duration {
	d := c.delays[t.Result.Group]
	if d == nil {
		d = new(clock.Delays)
		c.delays[t.Result.Group] = d
	}
	return d.Of(clock.Delivery{Connection: c.env.Bus.Reconnects(), Seq: t.Sequence, Stored: t.Stored, Received: time.Now()})
}

// GiveOut stores the scenes that are due, and returns when the next one is; zero: not before another result comes.
func (c *Cameras) GiveOut(ctx context.Context) time.Time {
	for {
		joined, wake, ok := c.joiner.Next(time.Now())
		if !ok || ctx.Err() != nil {
			return wake
		}
		if joined.Pushed {
			c.metrics.Pushed.Inc()
		}
		done := c.end(ctx, joined.Results)
		for _, msg := range joined.Handles {
			_ = msg.Ack() // unheard it comes again, and is late
		}
		if err := c.env.Bus.PublishDone(join.Stage, joined.Results[0].Source, done); err != nil {
			c.env.Log.Debug("done not sent", "error", err) // the producer's account lets the frame expire
		}
	}
}

// end stores the frame's scene and says how it ended. A frame that every group dropped has no scene.
func (c *Cameras) end(ctx context.Context, results []*flow.Result) flow.Done {
	begin, first := time.Now(), results[0]
	done := flow.Done{Version: first.Version, Session: first.Session, Seq: first.Seq, Outcome: flow.OutcomeDropped}
	answered := slices.DeleteFunc(slices.Clone(results), func(r *flow.Result) bool { return r.Dropped != "" })
	if len(answered) == 0 {
		done.Reason = first.Dropped
		return done
	}
	d := c.depth(ctx, first.Source, first.Session)
	scene, samples := join.FuseSamples(answered, d.stable, &c.unpacker, begin)
	if scene.Depth != nil {
		d.stable = scene.Range
		if d.shape == nil || scene.Seq > d.seq {
			d.keep(scene.Seq, scene.Captured, scene.Depth, samples)
		}
	} else {
		d.lend(scene, c.heldMax)
	}
	joined := time.Now()
	hop := &scene.Ledger[len(scene.Ledger)-1]
	hop.Work = joined.Sub(begin)
	c.metrics.Seconds.WithLabelValues("join").Observe(hop.Work.Seconds())
	done.Wait, done.Work = hop.Wait, hop.Work
	if err := c.store(ctx, scene); err != nil {
		c.env.Log.Warn("live scene not stored", "frame", scene.ID().String(), "error", err)
		done.Reason = "store"
		return done
	}
	c.metrics.Seconds.WithLabelValues("publish").Observe(time.Since(joined).Seconds())
	c.metrics.Scenes.Add()
	done.Outcome = scene.Outcome
	return done
}

func (c *Cameras) store(ctx context.Context, scene *flow.Scene) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), liveStore) // a stop lets the one in hand end
	defer cancel()
	for wait := retryWait; ; wait = min(2*wait, retryMax) {
		err := c.env.Bus.PublishScene(ctx, scene)
		if errors.Is(err, bus.ErrTooLarge) && (scene.Depth != nil || len(scene.Detections) > 0) {
			scene.Outcome, scene.Errors = flow.OutcomeError, map[string]string{join.Stage: err.Error()}
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
func (c *Cameras) depth(ctx context.Context, source, session string) *liveDepth {
	d := c.sources[source]
	if d == nil {
		d = &liveDepth{session: session}
		if last, err := c.env.Bus.LastLiveScene(ctx, source); err == nil && last.Session == session {
			d.stable = last.Range
		}
		if len(c.sources) >= c.limit {
			c.forget()
		}
		c.sources[source] = d
	}
	if d.session != session {
		*d = liveDepth{session: session}
	}
	d.heard = time.Now()
	return d
}

// Tidy frees the maps that are too old to be lent.
func (c *Cameras) Tidy(now time.Time) {
	for _, d := range c.sources {
		if now.Sub(d.heard) > c.heldMax+holdEvery {
			d.shape, d.samples = nil, nil
		}
	}
}

func (c *Cameras) forget() {
	oldest := ""
	for name, d := range c.sources {
		if oldest == "" || d.heard.Before(c.sources[oldest].heard) {
			oldest = name
		}
	}
	delete(c.sources, oldest)
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
	join.Measure(scene, d.shape, d.samples)
}

// Held lists the messages of all results that wait.
func (c *Cameras) Held() []jetstream.Msg { return c.joiner.Held() }
