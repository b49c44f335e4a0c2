package gateway

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/spatial-flow/spatial-flow/flow"
)

// subscribe opens a subscription into the queue. All share one queue, so that a frame stays ahead of its scene.
func (g *gateway) subscribe(subject string) (*nats.Subscription, error) {
	subscription, err := g.env.Bus.Conn().ChanSubscribe(subject, g.queue)
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
	kind, _, _ := strings.Cut(msg.Subject, ".")
	switch kind {
	case "accepted":
		id, err := flow.ParseFrameID(msg.Header.Get(nats.MsgIdHdr))
		if err != nil {
			g.metrics.refuse(doorFrames, reasonMalformed)
			return
		}
		g.hub.addFrame(id, msg.Data)
	case "scenes":
		scene := new(flow.Scene)
		if flow.Decode(msg.Data, scene) != nil || scene.Validate() != nil {
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
	groups, err := g.waitForGroups(ctx)
	if err != nil {
		return err
	}
	g.setGroups(groups)
	standing, err := g.subscribeAll("scenes.>", flow.AliveSubject("*", "*"))
	defer func() { unsubscribe(standing) }()
	if err != nil {
		return err
	}
	done, err := g.env.Bus.SubscribeDone("*", g.predict.source, g.predict.addDone)
	if err != nil {
		return err
	}
	defer unsubscribe([]*nats.Subscription{done})
	frames, err := g.newFrameSubscriptions(groups)
	if err != nil {
		return err
	}
	defer frames.close()
	if err := g.env.Bus.Conn().Flush(); err != nil {
		g.env.Log.Debug("subscriptions not confirmed", "error", err) // the connection is away: it subscribes when back
	}
	subscribed()
	g.refreshAll()
	look := time.NewTicker(groupsEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-g.watching:
		case <-look.C:
			if now, err := g.env.Bus.Groups(ctx); err == nil {
				frames.groups = now
				g.setGroups(now)
			}
			g.countLost(append(standing, frames.all()...))
		}
		if err := frames.follow(g.hub.watched()); err != nil {
			g.env.Log.Warn("frames of live sources", "error", err)
		}
	}
}

func (g *gateway) setGroups(groups flow.Groups) {
	g.groups.Store(&groups)
	g.predict.setGroups(groups)
}

// groupsEvery is how often the groups entry is read again, and lost messages are counted.
const groupsEvery = time.Second

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

// frameSubscriptions are those for frames: all lossless sources, and the live ones that are watched.
type frameSubscriptions struct {
	g        *gateway
	groups   flow.Groups
	slots    int // of the groups that the subscriptions were made for
	lossless *nats.Subscription
	live     map[string]*nats.Subscription
}

func (g *gateway) newFrameSubscriptions(groups flow.Groups) (*frameSubscriptions, error) {
	f := &frameSubscriptions{g: g, groups: groups, live: map[string]*nats.Subscription{}}
	if err := f.follow(nil); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// follow makes the live sources that are subscribed the given ones.
func (f *frameSubscriptions) follow(sources []string) error {
	if f.slots != len(f.groups) { // a slot was added
		f.close()
		lossless, err := f.g.subscribe(f.groups.AcceptedSubject(flow.ModeLossless, "*"))
		if err != nil {
			return err
		}
		f.lossless, f.slots = lossless, len(f.groups)
	}
	wanted := make(map[string]bool, len(sources))
	for _, source := range sources {
		wanted[source] = true
		if f.live[source] != nil {
			continue
		}
		s, err := f.g.subscribe(f.groups.AcceptedSubject(flow.ModeLive, source))
		if err != nil {
			return err
		}
		f.live[source] = s
	}
	for source, s := range f.live {
		if !wanted[source] {
			unsubscribe([]*nats.Subscription{s})
			delete(f.live, source)
		}
	}
	return nil
}

func (f *frameSubscriptions) all() []*nats.Subscription {
	all := make([]*nats.Subscription, 0, 1+len(f.live))
	if f.lossless != nil {
		all = append(all, f.lossless)
	}
	for _, s := range f.live {
		all = append(all, s)
	}
	return all
}

func (f *frameSubscriptions) close() {
	unsubscribe(f.all())
	f.lossless, f.slots = nil, 0
	clear(f.live)
}
