package live

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/flow/bus"
)

// subscribe opens a subscription into the queue. All share one queue, so that a frame stays ahead of its scene.
func (s *Server) subscribe(subject string) (*nats.Subscription, error) {
	subscription, err := s.env.Bus.Conn().ChanSubscribe(s.env.Bus.Subject(subject), s.queue)
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	return subscription, nil
}

// ingest hands what is in the queue to the hub until ctx ends.
func (s *Server) ingest(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case msg := <-s.queue:
			s.handle(msg)
		}
	}
}

func (s *Server) handle(msg *nats.Msg) {
	kind, _, _ := strings.Cut(s.env.Bus.Plain(msg.Subject), ".")
	switch kind {
	case "accepted":
		id, err := flow.ParseMessageID(msg.Header.Get(nats.MsgIdHdr))
		if err != nil {
			s.metrics.refuse(doorFrames, reasonMalformed)
			return
		}
		s.hub.addFrame(id, msg.Data)
	case "scenes":
		scene := new(flow.Scene)
		err := flow.Decode(msg.Data, scene)
		if err == nil {
			err = scene.Validate()
		}
		switch {
		case errors.Is(err, flow.ErrNewer):
			s.metrics.refuse(doorScenes, reasonNewer)
			s.newer.Store(time.Now().Unix())
			return
		case err != nil:
			s.metrics.refuse(doorScenes, reasonMalformed)
			return
		}
		s.listen.Scene(scene)
		if !strings.HasPrefix(scene.Source, flow.PredictPrefix) {
			s.hub.addScene(scene, false)
		}
	case "alive":
		alive, err := flow.ParseAlive(msg.Data)
		if err != nil {
			s.metrics.refuse(doorAlive, reasonMalformed)
			return
		}
		if !s.listen.Alive(alive) {
			s.metrics.refuse(doorAlive, reasonFull)
		}
		s.hub.addAlive(alive)
	}
}

// Subscribe owns the subscriptions until ctx ends. subscribed is called once they stand.
func (s *Server) Subscribe(ctx context.Context, deployed *bus.Deployed, subscribed func()) error {
	standing, err := s.subscribeAll("scenes.>", flow.AliveSubject("*", "*"), flow.AllAccepted(flow.ModeLossless))
	defer func() { unsubscribe(standing) }()
	if err != nil {
		return err
	}
	live := newLiveSubscriptions(s.subscribe)
	defer live.close()
	if err := s.env.Bus.Conn().Flush(); err != nil {
		s.env.Log.Debug("subscriptions not confirmed", "error", err) // the connection is away: it subscribes when back
	}
	subscribed()
	s.refreshAll()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		d, changed := deployed.Now()
		if err := live.follow(d.Groups, s.hub.watched(), time.Now()); err != nil {
			s.env.Log.Warn("frames of live sources", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.watching:
		case <-changed:
		case <-look.C:
			s.countLost(append(live.all(), standing...))
		}
	}
}

// lookEvery is how often lost messages are counted.
const lookEvery = time.Second

func (s *Server) subscribeAll(subjects ...string) (all []*nats.Subscription, err error) {
	for _, subject := range subjects {
		subscription, err := s.subscribe(subject)
		if err != nil {
			return all, err
		}
		all = append(all, subscription)
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
func (s *Server) countLost(subscriptions []*nats.Subscription) {
	lost := 0
	for _, subscription := range subscriptions {
		dropped, err := subscription.Dropped()
		if err == nil {
			lost += dropped
		}
	}
	reconnects := s.env.Bus.Conn().Stats().Reconnects
	if lost > s.lost || reconnects != s.reconnects {
		s.refreshAll()
	}
	if lost > s.lost {
		s.metrics.lost.Add(float64(lost - s.lost))
	}
	s.lost, s.reconnects = lost, reconnects
}
