package live

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
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
	subject := s.env.Bus.Plain(msg.Subject)
	kind, _, _ := strings.Cut(subject, ".")
	switch kind {
	case "accepted":
		id, err := flow.ParseMessageID(msg.Header.Get(nats.MsgIdHdr))
		if err != nil {
			s.metrics.refuse(doorFrames, reasonMalformed)
			return
		}
		s.hub.addFrame(id, msg.Data)
	case "scenes":
		if tokens := strings.SplitN(subject, ".", 5); len(tokens) > 3 && strings.HasPrefix(tokens[3], flow.PredictPrefix) && tokens[3] != s.listen.Predictions {
			return
		}
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
		alive, err := flow.ParseAliveOf(s.env.Bus.Plain(msg.Subject), msg.Data)
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
	subjects, modes := []string{"scenes.>", flow.AliveSubject("*", "*")}, []flow.Mode{flow.ModeLive, flow.ModeLossless}
	if s.cfg.AllFrames {
		subjects, modes = append(subjects, flow.AllAccepted(flow.ModeLossless)), modes[:1]
	}
	standing, err := s.subscribeAll(subjects...)
	defer func() { unsubscribe(standing) }()
	if err != nil {
		return err
	}
	frames := newFrameSubscriptions(s.subscribe, modes...)
	defer frames.close()
	s.confirm()
	subscribed()
	s.refreshAll()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	defer s.watching.begin()()
	for {
		d, changed := deployed.Now()
		asked := s.watching.now()
		added, err := frames.follow(d.Groups, s.hub.watched(), time.Now())
		if err != nil {
			s.env.Log.Warn("frames of sources that are watched", "error", err)
		}
		if len(added) > 0 {
			s.confirm()
		}
		for _, source := range added {
			s.lookUps.add(stored{source: source, frames: true})
		}
		s.watching.stands(asked)
		select {
		case <-ctx.Done():
			return nil
		case <-s.watching.changed:
		case <-changed:
		case <-look.C:
			s.countLost(append(frames.all(), standing...))
		}
	}
}

// confirmWithin bounds the wait for the server of NATS to know of a subscription.
const confirmWithin = 500 * time.Millisecond

// confirm returns once the subscriptions that were made stand, or the connection is away: it subscribes when back.
func (s *Server) confirm() {
	conn := s.env.Bus.Conn()
	if !conn.IsConnected() {
		return
	}
	if err := conn.FlushTimeout(confirmWithin); err != nil {
		s.env.Log.Debug("subscriptions not confirmed", "error", err)
	}
}

// watching is the way from viewers, who change what they watch, to the subscriptions, and back.
type watching struct {
	changed chan struct{} // holds a token when they have

	mu    sync.Mutex
	asked uint64        // how often they have
	stood uint64        // up to which of these the subscriptions stand
	stand chan struct{} // closed when that goes on; nil: nobody subscribes
}

// change notes that viewers watch other sources now.
func (w *watching) change() {
	w.mu.Lock()
	w.asked++
	w.mu.Unlock()
	select {
	case w.changed <- struct{}{}:
	default: // told already
	}
}

// begin says that somebody subscribes, until the func that it returns is called.
func (w *watching) begin() (end func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stand = make(chan struct{})
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		close(w.stand)
		w.stand = nil
	}
}

// now is how often viewers have changed what they watch.
func (w *watching) now() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked
}

// stands says that the subscriptions stand up to a change.
func (w *watching) stands(change uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stood < change {
		w.stood = change
		close(w.stand)
		w.stand = make(chan struct{})
	}
}

// await returns once the subscriptions for all changes until now stand, at once when nobody subscribes, or when ctx ends.
func (w *watching) await(ctx context.Context) {
	change := w.now()
	for {
		w.mu.Lock()
		stand, done := w.stand, w.stood >= change || w.stand == nil
		w.mu.Unlock()
		if done {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-stand:
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
