package fuser

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
	"github.com/spatial-flow/spatial-flow/flow/clock"
	"github.com/spatial-flow/spatial-flow/flow/depthmap"
	"github.com/spatial-flow/spatial-flow/flow/service"
)

const (
	holdEvery   = time.Second // InProgress of held results; AckWait is 3 s
	retryWait   = 20 * time.Millisecond
	retryMax    = 200 * time.Millisecond
	refusedWait = time.Second // before a result that found no room comes again
)

// taken is one result on its way from its consumer to the partition.
type taken struct {
	result   *flow.Result
	msg      jetstream.Msg
	sequence uint64
	stored   time.Time // by the stream's server and its clock
	again    bool      // it was delivered before
}

// rate counts scenes since it was last asked.
type rate struct{ n atomic.Int64 }

func (r *rate) take() int64 { return r.n.Swap(0) }

// partition owns one partition: its joiners, the stable ranges of its sources and their positions. One goroutine
// runs it, for as long as its owner has the lease.
type partition struct {
	live      *livePartition
	env       service.Env
	metrics   metrics
	prefetch  int
	joiner    *Joiner[jetstream.Msg]
	unpacker  depthmap.Unpacker
	ranges    map[Session]*depthmap.Range
	positions map[Session]uint64 // to be written: last stored seq
	scenes    *rate
}

func newPartition(cfg Config, leftOut []string, env service.Env, m metrics, scenes *rate) *partition {
	return &partition{
		live: newLivePartition(cfg, env, m, scenes),
		env:  env, metrics: m, prefetch: cfg.Prefetch, scenes: scenes,
		joiner: NewJoiner[jetstream.Msg](Limits{Sessions: cfg.Sessions, Bytes: cfg.MaxBytes}, leftOut),
		ranges: map[Session]*depthmap.Range{}, positions: map[Session]uint64{},
	}
}

// take hands the results of one group in one mode over until ctx ends. What is no result is terminated and counted.
func (p *partition) take(ctx context.Context, group string, mode flow.Mode, number int, out chan<- taken) error {
	open := func(ctx context.Context) (bus.Messages, error) {
		return p.env.Bus.TakeResults(ctx, group, mode, number, p.prefetch)
	}
	return bus.Follow(ctx, p.env.Log, open, func(msg jetstream.Msg) {
		result := new(flow.Result)
		err := flow.Decode(msg.Data(), result)
		if err == nil {
			err = result.Validate()
		}
		if err == nil && (result.Group != group || result.Mode != mode || flow.Partition(result.Source) != number) {
			err = fmt.Errorf("%w: group %s, mode %s, source %s came as a %s result of group %s in partition %d",
				flow.ErrMessage, result.Group, result.Mode, result.Source, mode, group, number)
		}
		meta, metaErr := msg.Metadata()
		if err = errors.Join(err, metaErr); err != nil {
			p.metrics.refused.WithLabelValues("results", "malformed").Inc()
			p.env.Log.Warn("result refused", "group", group, "error", err)
			_ = msg.TermWithReason("no result: " + err.Error()) // unanswered it would come again
			return
		}
		if meta.NumDelivered > 1 {
			p.metrics.redelivered.WithLabelValues(group).Inc()
		}
		select {
		case out <- taken{result, msg, meta.Sequence.Stream, meta.Timestamp, meta.NumDelivered > 1}:
		case <-ctx.Done():
			_ = msg.Nak() // a successor gets it now
		}
	})
}

// run joins until ctx ends, then gives back what it holds and writes the positions.
func (p *partition) run(ctx context.Context, in <-chan taken) error {
	ticker := time.NewTicker(holdEvery)
	defer ticker.Stop()
	deadline := time.NewTimer(time.Hour)
	defer deadline.Stop()
	defer p.stop(context.WithoutCancel(ctx))
	for {
		select {
		case <-ctx.Done():
			return nil
		case t := <-in:
			if t.result.Mode == flow.ModeLive {
				p.live.add(ctx, t)
				break
			}
			p.add(ctx, t)
		case <-deadline.C:
		case <-ticker.C:
			p.hold()
			p.live.tidy(time.Now())
			p.writePositions(ctx)
		}
		if wake := p.live.giveOut(ctx); !wake.IsZero() {
			deadline.Reset(time.Until(wake))
		}
	}
}

func (p *partition) stop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, stoppedWithin)
	defer cancel()
	for msg := range p.joiner.Held() {
		_ = msg.Nak() // a successor gets it now; without this, after AckWait
	}
	for _, msg := range p.live.joiner.Held() {
		_ = msg.Nak()
	}
	p.writePositions(ctx)
}

// hold tells the server that the held results are still worked on.
func (p *partition) hold() {
	for msg := range p.joiner.Held() {
		_ = msg.InProgress() // unheard it is delivered again, which the joiner takes
	}
	for _, msg := range p.live.joiner.Held() {
		_ = msg.InProgress()
	}
}

func (p *partition) add(ctx context.Context, t taken) {
	session := Session{t.result.Source, t.result.Session}
	stored, err := false, p.open(ctx, session)
	if err == nil {
		stored, err = p.joiner.Add(t.result, t.sequence, len(t.msg.Data()), t.msg)
	}
	switch {
	case err != nil:
		if !errors.Is(err, ErrFull) && ctx.Err() == nil {
			p.env.Log.Warn("result put back", "frame", t.result.ID().String(), "error", err)
		}
		_ = t.msg.NakWithDelay(refusedWait) // unheard it comes again after AckWait
		return
	case stored:
		_ = t.msg.Ack() // unheard it comes again, and is acked again
		return
	}
	for results := p.joiner.Next(session); results != nil; results = p.joiner.Next(session) {
		if !p.store(ctx, session, results) {
			return
		}
	}
}

// open makes a session known to the joiner: where it stands, and its stable range, are with the stored scenes.
func (p *partition) open(ctx context.Context, session Session) error {
	if p.joiner.Knows(session) {
		return nil
	}
	position, last, err := p.env.Bus.Position(ctx, session.Source, session.Name)
	if err != nil {
		return err
	}
	forgotten, err := p.joiner.Open(session, position)
	if err != nil {
		return err
	}
	if forgotten != nil {
		p.writePositions(ctx)
		delete(p.ranges, *forgotten)
	}
	if last != nil && last.Range != nil {
		p.ranges[session] = last.Range
	}
	return nil
}

// store fuses the session's next frame, stores its scene, and acks its results after that; false when ctx ended before.
func (p *partition) store(ctx context.Context, session Session, results []*flow.Result) bool {
	begin := time.Now()
	scene := Fuse(results, p.ranges[session], &p.unpacker, begin)
	joined := time.Now()
	scene.Ledger[len(scene.Ledger)-1].Work = joined.Sub(begin)
	p.metrics.seconds.WithLabelValues("join").Observe(joined.Sub(begin).Seconds())
	if !p.publish(ctx, scene) {
		return false
	}
	p.metrics.seconds.WithLabelValues("publish").Observe(time.Since(joined).Seconds())
	for _, msg := range p.joiner.Stored(session) {
		_ = msg.Ack() // unheard it comes again, and is acked as stored
	}
	p.ranges[session], p.positions[session] = scene.Range, scene.Seq
	hop := scene.Ledger[len(scene.Ledger)-1]
	done := flow.Done{Version: flow.DoneVersion, Session: scene.Session, Seq: scene.Seq, Wait: hop.Wait, Work: hop.Work, Outcome: scene.Outcome}
	if err := p.env.Bus.PublishDone(stage, scene.Source, done); err != nil {
		p.env.Log.Debug("done not sent", "error", err) // the producer looks the scene up
	}
	p.scenes.n.Add(1)
	return true
}

// publish stores the scene, however long it takes; false when ctx ended before. A scene that is stored already
// (the answer was lost, or another fuser was faster) is as good.
func (p *partition) publish(ctx context.Context, scene *flow.Scene) bool {
	wait, held := retryWait, time.Now()
	for ctx.Err() == nil {
		// A stop lets the publish in hand end, in its own time: a scene that is stored gets its done and its position.
		err := p.env.Bus.PublishScene(context.WithoutCancel(ctx), scene)
		switch {
		case err == nil, errors.Is(err, bus.ErrSceneStored):
			return true
		case errors.Is(err, bus.ErrTooLarge):
			if scene.Outcome, scene.Errors = flow.OutcomeError, map[string]string{stage: err.Error()}; scene.Depth == nil {
				scene.Detections = []flow.Detection{}
			}
			scene.Depth = nil
			continue
		}
		p.env.Log.Warn("scene not stored yet", "frame", scene.ID().String(), "error", err)
		if time.Since(held) > holdEvery {
			p.hold()
			held = time.Now()
		}
		clock.Sleep(ctx, wait)
		wait = min(2*wait, retryMax)
	}
	return false
}

// writePositions writes the positions that changed; what fails is tried again with the next tick.
func (p *partition) writePositions(ctx context.Context) {
	for session, seq := range p.positions {
		if err := p.env.Bus.SetPosition(ctx, session.Source, session.Name, seq); err != nil {
			p.env.Log.Debug("position not written", "error", err)
			return
		}
		delete(p.positions, session)
	}
}
