package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/spatial-flow/spatial-flow/flow"
)

// subscribe opens a subscription into the queue. All share one queue, so that a frame stays ahead of its scene.
func (g *gateway) subscribe(subject string) (*nats.Subscription, error) {
	subscription, err := g.env.Bus.Conn().ChanSubscribe(g.env.Bus.Subject(subject), g.queue)
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	return subscription, nil
}

// ingest hands what is in the queue to the hub until ctx ends.
func (g *gateway) ingest(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case msg := <-g.queue:
			g.handle(msg)
		}
	}
}

func (g *gateway) handle(msg *nats.Msg) {
	kind, _, _ := strings.Cut(g.env.Bus.Plain(msg.Subject), ".")
	switch kind {
	case "accepted":
		id, err := flow.ParseMessageID(msg.Header.Get(nats.MsgIdHdr))
		if err != nil {
			g.metrics.refuse(doorFrames, reasonMalformed)
			return
		}
		g.hub.addFrame(id, msg.Data)
	case "scenes":
		scene := new(flow.Scene)
		err := flow.Decode(msg.Data, scene)
		if err == nil {
			err = scene.Validate()
		}
		switch {
		case errors.Is(err, flow.ErrNewer):
			g.metrics.refuse(doorScenes, reasonNewer)
			g.newer.Store(time.Now().Unix())
			return
		case err != nil:
			g.metrics.refuse(doorScenes, reasonMalformed)
			return
		}
		if strings.HasPrefix(scene.Source, flow.PredictPrefix) {
			g.predict.addScene(scene)
			return
		}
		g.stages.add(scene, time.Now())
		g.hub.addScene(scene, false)
	case "alive":
		alive, err := flow.ParseAlive(msg.Data)
		if err != nil {
			g.metrics.refuse(doorAlive, reasonMalformed)
			return
		}
		if !g.fleet.add(alive) {
			g.metrics.refuse(doorAlive, reasonFull)
		}
		g.hub.addAlive(alive)
		g.predict.addAlive(alive)
	}
}

// intake owns the subscriptions until ctx ends. subscribed is called once they stand.
func (g *gateway) intake(ctx context.Context, subscribed func()) error {
	deployed, err := g.env.Bus.Watch(ctx, g.env.Log)
	if err != nil {
		return err
	}
	g.deployed.Store(deployed)
	standing, err := g.subscribeAll("scenes.>", flow.AliveSubject("*", "*"), flow.AllAccepted(flow.ModeLossless))
	defer func() { unsubscribe(standing) }()
	if err != nil {
		return err
	}
	done, err := g.env.Bus.SubscribeDone("*", g.predict.source, g.predict.addDone)
	if err != nil {
		return err
	}
	defer unsubscribe([]*nats.Subscription{done})
	live := newLiveSubscriptions(g.subscribe)
	defer live.close()
	if err := g.env.Bus.Conn().Flush(); err != nil {
		g.env.Log.Debug("subscriptions not confirmed", "error", err) // the connection is away: it subscribes when back
	}
	subscribed()
	g.refreshAll()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		d, changed := deployed.Now()
		if err := live.follow(d.Groups, g.hub.watched(), time.Now()); err != nil {
			g.env.Log.Warn("frames of live sources", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-g.watching:
		case <-changed:
		case <-look.C:
			g.countLost(append(live.all(), standing...))
		}
	}
}

// lookEvery is how often lost messages are counted.
const lookEvery = time.Second

func (g *gateway) subscribeAll(subjects ...string) (all []*nats.Subscription, err error) {
	for _, subject := range subjects {
		s, err := g.subscribe(subject)
		if err != nil {
			return all, err
		}
		all = append(all, s)
	}
	return all, nil
}

func unsubscribe(subscriptions []*nats.Subscription) {
	for _, s := range subscriptions {
		_ = s.Unsubscribe() // fails when the connection is closed: then it is gone anyway
	}
}

// countLost counts what found the queue full, or may have been missed while the connection was away. Then the
// newest scene of each source is looked up again.
func (g *gateway) countLost(subscriptions []*nats.Subscription) {
	lost := 0
	for _, s := range subscriptions {
		dropped, err := s.Dropped()
		if err == nil {
			lost += dropped
		}
	}
	reconnects := g.env.Bus.Conn().Stats().Reconnects
	if lost > g.lost || reconnects != g.reconnects {
		g.refreshAll()
	}
	if lost > g.lost {
		g.metrics.lost.Add(float64(lost - g.lost))
	}
	g.lost, g.reconnects = lost, reconnects
}
