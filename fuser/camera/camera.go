// Package camera joins the results of one live source, in a goroutine of its own, and stores its scenes.
package camera

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/fuser/delivery"
	"github.com/spatial-flow/spatial-flow/fuser/join"
	"github.com/spatial-flow/spatial-flow/fuser/metrics"
	"github.com/spatial-flow/spatial-flow/fuser/store"
)

const (
	// maxStoring is how many scenes of a camera are being stored at once; the next one is dropped.
	maxStoring = 16
	// storeWithin is how long a live scene is tried to be stored: after that nobody wants to see it.
	storeWithin = 2 * time.Second
	openWithin  = time.Second // for reading a camera's newest stored scene
	tidyEvery   = time.Second
	tellEvery   = 10 * time.Second // of scenes that are not stored
)

// Scenes is where scenes are stored.
type Scenes interface {
	LastLiveScene(ctx context.Context, source string) (*flow.Scene, error)
	PublishScene(ctx context.Context, scene *flow.Scene) error
}

// Shared is what the cameras of a partition have in common.
type Shared struct {
	Scenes    Scenes
	Done      func(source string, done flow.Done)
	Full      func() bool // whether a camera with a frame open is to let one go
	Needs     func() join.Needs
	Lags      *join.Lags
	Unpackers join.Unpackers
	HeldMax   time.Duration
	Metrics   metrics.Metrics
	Log       *slog.Logger
}

// Camera is one live source while its fuser knows it. [Camera.Run] is its goroutine.
type Camera struct {
	*Shared
	source  string
	joiner  *join.Live[*delivery.Delivery]
	depths  *depths       // nil until the newest stored scene was looked for
	storing chan struct{} // holds a token for each scene that is being stored
	stores  sync.WaitGroup
	told    atomic.Int64 // when it was logged last that scenes are not stored: UTC, nanoseconds
}

// New makes a camera.
func New(shared *Shared, source string) *Camera {
	return &Camera{
		Shared: shared, source: source, joiner: join.NewLive[*delivery.Delivery](shared.Lags),
		storing: make(chan struct{}, maxStoring),
	}
}

// Run joins what comes through the mailbox until ctx ends or the mailbox is closed. changed tells that groups changed.
// What is held then is not given back. Scenes that are being stored are stored first, as far as that is possible in 2 s.
func (c *Camera) Run(ctx context.Context, mailbox <-chan *delivery.Delivery, changed <-chan struct{}) {
	defer c.stores.Wait()
	due := time.NewTimer(time.Hour)
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case d, ok := <-mailbox:
			if !ok {
				return
			}
			c.add(ctx, d)
		case <-changed:
		case <-due.C:
			c.depths.tidy(time.Now(), c.HeldMax+tidyEvery)
		}
		wake := c.giveOut(ctx)
		if at := c.depths.tidyAt(c.HeldMax + tidyEvery); wake.IsZero() || !at.IsZero() && at.Before(wake) {
			wake = at
		}
		if !wake.IsZero() {
			due.Reset(time.Until(wake))
		}
	}
}

// add takes a result. One that is late is acked and counted, and its depth map may still be the newest of its session.
func (c *Camera) add(ctx context.Context, d *delivery.Delivery) {
	c.open(ctx)
	if c.joiner.Add(d.Result, d.Stale, d, d.Received) {
		return
	}
	d.Ack()
	c.Metrics.Late.WithLabelValues(d.Result.Group).Inc()
	if d.Result.Depth == nil || c.apart() || c.Needs()[d.Result.Group] == join.Shadow {
		return
	}
	of := c.depths.session(d.Result.Session, time.Now())
	if d.Result.Seq <= of.newest {
		return
	}
	unpacker := c.Unpackers.Borrow()
	defer c.Unpackers.Return(unpacker)
	samples, err := unpacker.Unpack(d.Result.Depth)
	if err != nil {
		c.Metrics.Refused.WithLabelValues("results", "malformed").Inc()
		return
	}
	of.stable = join.MoveRange(of.stable, d.Result.Depth, samples)
	of.keep(d.Result.Seq, d.Result.Captured, d.Result.Depth, samples)
}

// open begins with the range of the newest stored scene: the fuser has just started, or the camera was silent for long.
func (c *Camera) open(ctx context.Context) {
	if c.depths != nil {
		return
	}
	c.depths = new(depths)
	ctx, cancel := context.WithTimeout(ctx, openWithin)
	defer cancel()
	if last, err := c.Scenes.LastLiveScene(ctx, c.source); err == nil { // else it learns one anew
		c.depths.session(last.Session, time.Now()).stable = last.Range
	}
}

// giveOut stores the scenes that are due, and returns when the next one is; zero: not before another result comes.
func (c *Camera) giveOut(ctx context.Context) time.Time {
	for {
		joined, wake, ok := c.joiner.Next(c.Needs(), !c.Full(), time.Now())
		if !ok || ctx.Err() != nil {
			return wake
		}
		if joined.Pushed {
			c.Metrics.Pushed.Inc()
		}
		for _, d := range joined.Handles {
			d.Ack() // delivered again it would open no frame
		}
		c.end(ctx, joined.Joined)
	}
}

// end fuses a frame and has its scene stored. A frame that every group dropped has no scene.
func (c *Camera) end(ctx context.Context, joined join.Joined) {
	begin, first := time.Now(), joined.Results[0]
	done := flow.Done{Version: first.Version, Session: first.Session, Seq: first.Seq, Outcome: flow.OutcomeDropped}
	joined.Results = slices.DeleteFunc(joined.Results, func(r *flow.Result) bool { return r.Dropped != "" })
	if len(joined.Results) == 0 {
		done.Reason = first.Dropped
		c.Done(c.source, done)
		return
	}
	scene := c.fuse(joined, begin)
	hop := scene.Ledger[len(scene.Ledger)-1]
	done.Wait, done.Work = hop.Wait, hop.Work
	select {
	case c.storing <- struct{}{}:
	default: // nothing is stored any more
		done.Reason = "store"
		c.Done(c.source, done)
		return
	}
	c.stores.Go(func() {
		defer func() { <-c.storing }()
		stored := time.Now()
		ctx, cancel := context.WithTimeout(ctx, storeWithin)
		defer cancel()
		if err := store.Scene(ctx, c.Scenes, scene, c.Log); err != nil {
			c.tell(scene, err)
			done.Reason = "store"
		} else {
			c.Metrics.Seconds.WithLabelValues("publish").Observe(time.Since(stored).Seconds())
			c.Metrics.Scenes.Add()
			done.Outcome = scene.Outcome
		}
		c.Done(c.source, done)
	})
}

// apart says whether each frame is another one's picture, which was posted: it says nothing of the next one, whose owner is not to learn
// anything of it.
func (c *Camera) apart() bool { return strings.HasPrefix(c.source, flow.PredictPrefix) }

func (c *Camera) fuse(joined join.Joined, begin time.Time) *flow.Scene {
	of := c.depths.session(joined.Results[0].Session, begin)
	unpacker := c.Unpackers.Borrow()
	defer c.Unpackers.Return(unpacker)
	needs := c.Needs()
	last, apart := of.stable, c.apart()
	if apart {
		last = nil
	}
	scene, samples := join.Fuse(joined, needs, last, unpacker, begin)
	c.Metrics.CountShadows(joined, needs)
	switch {
	case apart:
	case scene.Depth != nil:
		of.stable = scene.Range
		if scene.Seq > of.newest {
			of.keep(scene.Seq, scene.Captured, scene.Depth, samples)
		}
	default:
		of.lend(scene, c.HeldMax)
	}
	hop := &scene.Ledger[len(scene.Ledger)-1]
	hop.Work = time.Since(begin)
	c.Metrics.Seconds.WithLabelValues("join").Observe(hop.Work.Seconds())
	return scene
}

// tell logs, at most every few seconds, that a scene is not stored.
func (c *Camera) tell(scene *flow.Scene, err error) {
	now, before := time.Now().UnixNano(), c.told.Load()
	if now-before >= tellEvery.Nanoseconds() && c.told.CompareAndSwap(before, now) {
		c.Log.Warn("live scenes not stored", "frame", scene.ID().String(), "error", err)
	}
}
